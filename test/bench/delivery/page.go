package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// What is between these lines of performance.md is written by -docs.
const (
	pageBegin = "<!-- bench-delivery: begin (make bench-delivery BENCH_FLAGS='-docs docs') -->\n"
	pageEnd   = "<!-- bench-delivery: end -->\n"

	pageName, chartName = "performance.md", "performance.svg"
)

// document writes the results into the documentation: a text and a chart.
func (r report) document(dir string) error {
	page := filepath.Join(dir, pageName)
	text, err := os.ReadFile(page)
	if err != nil {
		return fmt.Errorf("reading the page: %w", err)
	}
	before, rest, begun := bytes.Cut(text, []byte(pageBegin))
	_, after, ended := bytes.Cut(rest, []byte(pageEnd))
	if !begun || !ended {
		return errors.New(pageName + " does not have the lines between which results belong")
	}
	var results bytes.Buffer
	fmt.Fprintf(&results, "![Mails a second by round trip, on a logarithmic scale](%s)\n\n```\n", chartName)
	var table bytes.Buffer
	if err := r.print(&table); err != nil {
		return err
	}
	results.Write(bytes.TrimSpace(table.Bytes()))
	results.WriteString("\n```\n")
	whole := bytes.Join([][]byte{before, []byte(pageBegin), results.Bytes(), []byte(pageEnd), after}, nil)
	if err := os.WriteFile(page, whole, 0o644); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, chartName), r.chart(), 0o644); err != nil {
		return fmt.Errorf("writing the chart: %w", err)
	}
	return nil
}
