package recipients

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
)

// addressColumns are the names of the address column, the most telling first: in a list with both email and address,
// the latter is where people live.
var addressColumns = []string{"email", "e-mail", "email address", "email_address", "e-mail address", "address"}

const nameColumn = "name"

// csvSource reads values that are separated by commas, semicolons, tabs or bars.
type csvSource struct {
	lines   *lineReader
	input   *csvInput
	reader  *csv.Reader
	columns []column
	pending []string // the first record, where it is an entry and not a header
	offset  int      // lines before the first that the CSV reader has seen
}

// column says what a field of a record is; the zero value is a column without a header, which is ignored.
type column struct {
	address, name bool
	variable      string
}

func (s *csvSource) next() (Entry, int, error) {
	if s.reader == nil {
		if err := s.open(); err != nil {
			return Entry{}, 0, err
		}
	}
	for {
		record, line, err := s.record()
		if err != nil {
			return Entry{}, 0, err
		}
		if strings.TrimSpace(strings.Join(record, "")) != "" { // spreadsheets leave rows of separators behind
			return s.entry(record), line, nil
		}
	}
}

func (s *csvSource) entry(record []string) Entry {
	var entry Entry
	for i, c := range s.columns {
		switch {
		case c.address:
			entry.Address = record[i]
		case c.name:
			entry.Name = record[i]
		case c.variable != "":
			if entry.Variables == nil {
				entry.Variables = make(map[string]string, len(s.columns)-1)
			}
			entry.Variables[c.variable] = record[i]
		}
	}
	return entry
}

// open finds the separator and reads the header. The separator is the one with which the first line names an address
// column; a first line sep=; as Excel writes it is obeyed.
func (s *csvSource) open() error {
	s.input = &csvInput{lines: s.lines}
	var separator rune
	for {
		first, err := s.lines.next()
		if err != nil {
			return err // io.EOF if there is nothing but blank lines
		}
		line := strings.TrimRight(string(first), "\r\n")
		if rest, ok := strings.CutPrefix(strings.ToLower(line), "sep="); ok && len(rest) == 1 {
			separator = rune(rest[0])
			s.offset = s.lines.line
			break
		}
		if looksJSON(line) {
			return syntaxError(s.lines.line, "the list is JSON, not CSV: set spec.recipients.format to JSONLines, and write one object a line, "+
				"without a list around them")
		}
		if strings.TrimSpace(line) != "" {
			separator = Separator(line)
			s.offset = s.lines.line - 1
			s.input.rest = []byte(line + "\n")
			break
		}
	}
	s.reader = csv.NewReader(s.input)
	s.reader.Comma = separator
	s.reader.ReuseRecord = true
	if !validSeparator(separator) {
		return syntaxError(1, "the first line sets a separator that can't be one: use a comma, a semicolon, a tab or a bar")
	}

	record, number, err := s.record()
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	if err != nil {
		return err
	}
	if s.columns, err = header(record, number); err != nil {
		return err
	}
	if s.columns == nil {
		s.columns = []column{{address: true}}
		s.pending = []string{record[0]}
	}
	return nil
}

func validSeparator(r rune) bool { return strings.ContainsRune(",;\t|", r) }

// Separator returns what separates the columns of a CSV file that begins with this line: that with which it names a column
// of addresses, or else has most columns.
func Separator(line string) rune {
	best, most := ',', 0
	for _, separator := range []rune{',', ';', '\t', '|'} {
		reader := csv.NewReader(strings.NewReader(line))
		reader.Comma = separator
		record, err := reader.Read()
		if err == nil && AddressColumn(record) >= 0 {
			return separator
		}
		if err == nil && len(record) > most {
			best, most = separator, len(record)
		}
	}
	return best
}

// header returns what the columns are, or nil if the record is not a header but the first of a list of addresses.
func header(record []string, line int) ([]column, error) {
	address := AddressColumn(record)
	if address < 0 {
		if _, err := ParseAddress(record[0]); err == nil && len(record) == 1 {
			return nil, nil
		}
		return nil, syntaxError(line, "no address column: the first line must name the columns, and one of them email%s", found(record))
	}
	columns := make([]column, len(record))
	seen := map[string]bool{}
	for i, field := range record {
		title := strings.TrimSpace(field)
		switch {
		case i == address:
			columns[i].address = true
			title = "email"
		case strings.EqualFold(title, nameColumn):
			columns[i].name = true
			title = nameColumn
		case title == "":
			continue
		default:
			if err := checkVariableKey(title, line); err != nil {
				return nil, err
			}
			columns[i].variable = title
		}
		title = strings.ToLower(title)
		if seen[title] {
			return nil, syntaxError(line, "two columns have the same name: column %d", i+1)
		}
		seen[title] = true
	}
	if len(seen) > MaxVariables+2 {
		return nil, syntaxError(line, "the list has more than %d columns of variables", MaxVariables)
	}
	return columns, nil
}

// found names the columns that there are instead, unless it is data that the first line holds.
func found(record []string) string {
	const shown = 10
	names := make([]string, 0, shown)
	for i, field := range record {
		title := strings.TrimSpace(field)
		if strings.Contains(title, "@") || checkVariableKey(title, 1) != nil && title != "" {
			return ""
		}
		if i == shown {
			names = append(names, "…")
			break
		}
		names = append(names, strconv.Quote(title))
	}
	return "; there are only " + strings.Join(names, ", ")
}

// AddressColumn returns which of the columns with these titles holds addresses, or -1: the first of email, e-mail, email
// address, email_address, e-mail address and address that there is, in any case.
func AddressColumn(record []string) int {
	for _, name := range addressColumns {
		i := slices.IndexFunc(record, func(field string) bool { return strings.EqualFold(strings.TrimSpace(field), name) })
		if i >= 0 {
			return i
		}
	}
	return -1
}

// record returns the next record and the line that it begins on.
func (s *csvSource) record() ([]string, int, error) {
	if record := s.pending; record != nil {
		s.pending = nil
		return record, s.firstLine(), nil
	}
	s.input.quota = MaxLine
	record, err := s.reader.Read()
	if err == nil {
		return record, s.firstLine(), nil
	}
	var parse *csv.ParseError
	if !errors.As(err, &parse) {
		return nil, 0, err // io.EOF, *SyntaxError of the input, or what reading failed with
	}
	begin, at := s.offset+parse.StartLine, s.offset+parse.Line
	switch {
	case errors.Is(err, csv.ErrFieldCount):
		return nil, 0, syntaxError(begin, "the line has %d fields and the first has %d", len(record), s.reader.FieldsPerRecord)
	case errors.Is(err, csv.ErrQuote) && s.input.ended:
		return nil, 0, syntaxError(begin, "a quote is opened and never closed")
	case errors.Is(err, csv.ErrQuote):
		return nil, 0, syntaxError(at, "text follows a closing quote: in a quoted field, write quotes twice")
	default:
		return nil, 0, syntaxError(at, "a quote is in a field that is not quoted: quote the field, and write its quotes twice")
	}
}

// firstLine is the line that the record in hand begins on.
func (s *csvSource) firstLine() int {
	line, _ := s.reader.FieldPos(0)
	return s.offset + line
}

// csvInput hands the lines to the CSV reader one at a time, so that errors come in the order of the lines, and no record
// takes more than its quota: an unclosed quote would swallow the whole list.
type csvInput struct {
	lines *lineReader
	rest  []byte
	start int // the line that the record in hand begins on
	quota int
	ended bool
	err   error
}

func (in *csvInput) Read(p []byte) (int, error) {
	if in.err != nil {
		return 0, in.err
	}
	if len(in.rest) == 0 {
		if err := in.fill(); err != nil {
			in.err = err
			return 0, err
		}
	}
	n := copy(p, in.rest)
	in.rest = in.rest[n:]
	return n, nil
}

func (in *csvInput) fill() error {
	fresh := in.quota == MaxLine
	if in.quota <= 0 {
		return syntaxError(in.start, "the record that begins here is longer than %d KiB: is a quote not closed?", MaxLine>>10)
	}
	line, err := in.lines.next()
	if err != nil {
		in.ended = errors.Is(err, io.EOF)
		return err
	}
	in.rest = line
	if fresh && len(bytes.TrimRight(line, "\r\n")) == 0 { // skipped by the CSV reader: no part of a record
		return nil
	}
	if fresh {
		in.start = in.lines.line
	}
	in.quota -= len(line)
	return nil
}
