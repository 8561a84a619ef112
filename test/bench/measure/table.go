package measure

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Table is one for people: columns as wide as they must be, and titles between the rows.
type Table struct {
	rows   [][]string // a title is a row of one cell
	widths []int
	filled bool
}

// NewTable begins a table, with heads of its columns if there are any.
func NewTable(heads ...string) *Table {
	t := &Table{}
	if len(heads) > 0 {
		t.add(heads)
	}
	return t
}

// Section writes a title. It makes no column wide.
func (t *Table) Section(title string) { t.rows = append(t.rows, []string{title}) }

// Row writes a row of two cells or more; the first is indented.
func (t *Table) Row(cells ...string) {
	t.filled = true
	t.add(append([]string{"  " + cells[0]}, cells[1:]...))
}

// Empty tells that the table has no row.
func (t *Table) Empty() bool { return !t.filled }

func (t *Table) add(cells []string) {
	t.rows = append(t.rows, cells)
	for i, cell := range cells {
		if i == len(t.widths) {
			t.widths = append(t.widths, 0)
		}
		t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cell))
	}
}

// Print writes the table.
func (t *Table) Print(out io.Writer) error {
	for _, row := range t.rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		if _, err := fmt.Fprintln(out, strings.TrimRight(line.String(), " ")); err != nil {
			return fmt.Errorf("printing a table: %w", err)
		}
	}
	return nil
}

// Verdict is what a table says of a target that is met or is not.
func Verdict(met bool) string {
	if met {
		return "met"
	}
	return "NOT MET"
}
