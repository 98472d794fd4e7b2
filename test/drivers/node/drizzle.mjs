// Drizzle on pg and on postgres: its migrator, and a round of create, read, update, delete.

import assert from 'node:assert/strict'
import { count, eq } from 'drizzle-orm'
import { drizzle as drizzlePg } from 'drizzle-orm/node-postgres'
import { migrate as migratePg } from 'drizzle-orm/node-postgres/migrator'
import { integer, pgTable, serial, text } from 'drizzle-orm/pg-core'
import { drizzle as drizzlePostgres } from 'drizzle-orm/postgres-js'
import { migrate as migratePostgres } from 'drizzle-orm/postgres-js/migrator'
import pg from 'pg'
import postgres from 'postgres'

const author = pgTable('drizzle_author', { id: serial('id').primaryKey(), name: text('name').notNull() })
const book = pgTable('drizzle_book', {
  id: serial('id').primaryKey(),
  title: text('title').notNull(),
  authorId: integer('author_id'),
  pages: integer('pages').notNull().default(1),
})

// Both read the environment.
const pool = new pg.Pool({ max: 10 })
const sql = postgres({ max: 10, onnotice() {} })
const databases = [drizzlePg(pool), drizzlePostgres(sql)]

async function migrate() {
  const migrationsFolder = new URL('migrations', import.meta.url).pathname
  await migratePg(databases[0], { migrationsFolder })
  await migratePostgres(databases[1], { migrationsFolder }) // nothing left to do
}

async function crud() {
  for (const db of databases) {
    const [ada] = await db.insert(author).values({ name: 'Ada' }).returning()
    await db.insert(book).values(Array.from({ length: 500 }, (_, n) => ({ title: `book ${n}`, authorId: ada.id })))
    const byAuthor = db.select({ n: count() }).from(book).where(eq(book.authorId, ada.id)).prepare('by_author')
    const counts = await Promise.all(Array.from({ length: 20 }, () => byAuthor.execute()))
    assert.deepEqual(counts.flat(), Array(20).fill({ n: 500 }))
    await db.update(author).set({ name: 'Ada L.' }).where(eq(author.id, ada.id))
    await assert.rejects(db.insert(author).values({ name: 'Ada L.' }))
    const failing = db.transaction(async (transaction) => {
      await transaction.delete(book)
      transaction.rollback()
    })
    await assert.rejects(failing, /[Rr]ollback/)
    assert.equal((await byAuthor.execute())[0].n, 500)
    await db.delete(book).where(eq(book.authorId, ada.id))
    await db.delete(author).where(eq(author.id, ada.id))
    assert.deepEqual(await db.select().from(author), [])
  }
}

for (const check of [migrate, crud]) {
  try {
    await check()
    console.log(`ok ${check.name}`)
  } catch (error) {
    process.exitCode = 1
    console.log(`not ok ${check.name}: ${String(error).replaceAll('\n', ' ')}`)
    console.error(error)
  }
}
await Promise.all([pool.end(), sql.end()])
