// GORM on pgx, with its own cache of prepared statements: AutoMigrate, and a round of create, read, update, delete.
package main

import (
	"context"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	. "tsbouncer.test/drivers/report"
)

type Author struct {
	ID    uint
	Name  string `gorm:"uniqueIndex"`
	Books []Book
}

type Book struct {
	ID       uint
	Title    string
	AuthorID uint
}

// BookWithPages is a later version of Book.
type BookWithPages struct {
	Book
	Pages int `gorm:"default:1"`
}

func (BookWithPages) TableName() string { return "books" }

func open() *gorm.DB {
	db := Value(gorm.Open(postgres.New(postgres.Config{DSN: "application_name=gorm"}), &gorm.Config{
		PrepareStmt: true,
		Logger:      logger.Default.LogMode(logger.Silent),
	}))
	Value(db.DB()).SetMaxOpenConns(10)
	return db
}

func main() {
	Run(Check{"migrate", migrate}, Check{"crud", crud})
}

func migrate(context.Context) {
	db := open()
	Must(db.AutoMigrate(&Author{}, &Book{}))
	Must(db.Create(&Author{Name: "old", Books: []Book{{Title: "before"}}}).Error)
	Must(db.AutoMigrate(&BookWithPages{}))
	var book BookWithPages
	Must(db.First(&book).Error)
	Equal(book.Pages, 1)
	Must(db.AutoMigrate(&Author{}, &BookWithPages{})) // nothing left to do
}

func crud(context.Context) {
	db := open()
	author := Author{Name: "Ada", Books: []Book{{Title: "one"}, {Title: "two"}}}
	Must(db.Create(&author).Error)
	var found Author
	Must(db.Preload("Books").First(&found, "name = ?", "Ada").Error)
	Equal(len(found.Books), 2)
	Must(db.Model(&found).Update("name", "Ada L.").Error)
	Fails(db.Create(&Author{Name: "Ada L."}).Error, "23505")
	err := db.Transaction(func(transaction *gorm.DB) error {
		Must(transaction.Where("author_id = ?", found.ID).Delete(&Book{}).Error)
		return gorm.ErrInvalidTransaction
	})
	Equal(err, gorm.ErrInvalidTransaction)
	var count int64
	Must(db.Model(&Book{}).Where("author_id = ?", found.ID).Count(&count).Error)
	Equal(count, int64(2))
	Must(db.Where("author_id = ?", found.ID).Delete(&Book{}).Error)
	Must(db.Delete(&found).Error)
	Must(db.Model(&Author{}).Where("name = ?", "Ada L.").Count(&count).Error)
	Equal(count, int64(0))
}
