// Package report runs checks one after another, each with a time limit, and says how each went.
package report

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"
)

const limit = 30 * time.Second

// Check is one column of the matrix.
type Check struct {
	Name string
	Run  func(context.Context)
}

// Run prints `ok NAME`, or `not ok NAME: why`, for each check, and ends the program.
func Run(checks ...Check) {
	code := 0
	for _, check := range checks {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		err := outcome(ctx, check)
		cancel()
		if err == nil {
			fmt.Printf("ok %s\n", check.Name)
		} else {
			code = 1
			fmt.Printf("not ok %s: %s\n", check.Name, strings.ReplaceAll(err.Error(), "\n", " "))
		}
	}
	os.Exit(code)
}

func outcome(ctx context.Context, check Check) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if problem := recover(); problem != nil {
				done <- fmt.Errorf("%v", problem)
				return
			}
			done <- nil
		}()
		check.Run(ctx)
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(limit + 5*time.Second):
		return fmt.Errorf("not done after %s", limit)
	}
}

// Must ends the check where there is an error.
func Must(err error) {
	if err != nil {
		panic(err)
	}
}

// Value is Must for calls that give something.
func Value[T any](value T, err error) T {
	Must(err)
	return value
}

// Equal ends the check where the two differ.
func Equal(got, expected any) {
	if !reflect.DeepEqual(got, expected) {
		panic(fmt.Errorf("got %#v, not %#v", got, expected))
	}
}

// Fails ends the check where there is no error with this text in it.
func Fails(err error, text string) {
	if err == nil || !strings.Contains(err.Error(), text) {
		panic(fmt.Errorf("got error %v, not %q", err, text))
	}
}
