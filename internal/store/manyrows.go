package store

import (
	"slices"
	"strings"

	"gorm.io/gorm"
)

// bulkSizes are the numbers of rows that one statement of a bulk writes: few texts, which are made once.
var bulkSizes = []int{64, 16, 4, 1}

// bulk is an INSERT of many rows whose text is made beforehand: what gorm finds out about each value of each row takes
// longer than all else that writing a mail does here.
type bulk map[int]string

// newBulk returns the INSERT into table. A column may be given as name=literal: then it takes no value.
func newBulk(table string, columns ...string) bulk { return newBulkWith("", table, columns...) }

// newBulkWith returns an INSERT that ends with more than rows.
func newBulkWith(end, table string, columns ...string) bulk {
	names, values := make([]string, len(columns)), make([]string, len(columns))
	for i, column := range columns {
		name, literal, ok := strings.Cut(column, "=")
		if names[i] = "`" + name + "`"; !ok {
			literal = "?"
		}
		values[i] = literal
	}
	row := "(" + strings.Join(values, ",") + ")"
	b := bulk{}
	for _, n := range bulkSizes {
		b[n] = "INSERT INTO `" + table + "` (" + strings.Join(names, ",") + ") VALUES " + strings.Join(slices.Repeat([]string{row}, n), ",") + end
	}
	return b
}

// insertBulk writes rows, about insertBytes at a time; size is about the bytes of one, and values appends its values.
func insertBulk[T any](tx *gorm.DB, b bulk, rows []T, size func(T) int, values func(row T, to []any) []any) error {
	var arguments []any
	for len(rows) > 0 {
		n := bulkSize(rows, size)
		arguments = arguments[:0]
		for _, row := range rows[:n] {
			arguments = values(row, arguments)
		}
		if err := tx.Exec(b[n], arguments...).Error; err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// bulkSize is how many of the rows the next statement writes.
func bulkSize[T any](rows []T, size func(T) int) int {
	fit, bytes := 0, 0
	for _, row := range rows[:min(len(rows), bulkSizes[0])] {
		if bytes += size(row); bytes > insertBytes {
			break
		}
		fit++
	}
	for _, n := range bulkSizes {
		if n <= fit {
			return n
		}
	}
	return 1
}
