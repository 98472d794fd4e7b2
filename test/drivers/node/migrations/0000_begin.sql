CREATE TABLE drizzle_author (id serial PRIMARY KEY, name text UNIQUE NOT NULL);
--> statement-breakpoint
CREATE TABLE drizzle_book (id serial PRIMARY KEY, title text NOT NULL, author_id int REFERENCES drizzle_author);
