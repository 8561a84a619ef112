package recipients

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/gunzip"
)

// read is the whole outcome of a list.
type read struct {
	Recipients []campaign.Recipient
	Summary    Summary
	Error      string
}

func readAll(in string, format Format) read {
	var got read
	summary, err := Read(strings.NewReader(in), format, func(r campaign.Recipient) error {
		got.Recipients = append(got.Recipients, r)
		return nil
	})
	got.Summary = summary
	if err != nil {
		got.Error = err.Error()
	}
	return got
}

func plain(addresses ...string) []campaign.Recipient {
	var list []campaign.Recipient
	for _, a := range addresses {
		list = append(list, campaign.Recipient{Address: a})
	}
	return list
}

func TestReadCSV(t *testing.T) {
	t.Parallel()
	ana := campaign.Recipient{Address: "ana@example.com", Name: "Ana", Variables: map[string]string{"city": "Cádiz"}}
	tests := []struct {
		name, in string
		want     read
	}{
		{"empty", "", read{}},
		{"blank lines only", "\n\r\n", read{}},
		{"header only", "email,name\n", read{}},
		{
			"header", "email,name,city\nana@example.com,Ana,Cádiz\n",
			read{Recipients: []campaign.Recipient{ana}, Summary: Summary{Rows: 1, Accepted: 1}},
		},
		{
			"BOM, CRLF, any case and order", "\ufeffcity,NAME, E-Mail \r\nCádiz,Ana,ana@example.com\r\n",
			read{Recipients: []campaign.Recipient{ana}, Summary: Summary{Rows: 1, Accepted: 1}},
		},
		{
			"semicolons", "Address;name;city\nana@example.com;Ana;Cádiz",
			read{Recipients: []campaign.Recipient{ana}, Summary: Summary{Rows: 1, Accepted: 1}},
		},
		{
			"tabs", "email\tname\tcity\nana@example.com\tAna\tCádiz",
			read{Recipients: []campaign.Recipient{ana}, Summary: Summary{Rows: 1, Accepted: 1}},
		},
		{
			"sep= line of Excel, and line numbers after it", "sep=;\r\nemail;name;city\r\nana@example.com;Ana;Cádiz\r\nbroken;;\r\n",
			read{Recipients: []campaign.Recipient{ana}, Summary: Summary{Rows: 2, Accepted: 1, Invalid: 1, InvalidLines: []int{4}}},
		},
		{
			"quoted fields with separators, quotes and line breaks; the name on one line",
			"email,name,note\r\nana@example.com,\"Ruiz, \"\"Ana\"\"\r\n  María\",\"a\r\nb\"\r\nbroken,,\r\n",
			read{
				Recipients: []campaign.Recipient{{Address: "ana@example.com", Name: `Ruiz, "Ana" María`, Variables: map[string]string{"note": "a\nb"}}},
				Summary:    Summary{Rows: 2, Accepted: 1, Invalid: 1, InvalidLines: []int{5}},
			},
		},
		{
			"a postal address beside the email", "address,email\nCalle Mayor 1,ana@example.com\n",
			read{
				Recipients: []campaign.Recipient{{Address: "ana@example.com", Variables: map[string]string{"address": "Calle Mayor 1"}}},
				Summary:    Summary{Rows: 1, Accepted: 1},
			},
		},
		{
			"without a header", "ana@example.com\nben@example.org\n",
			read{Recipients: plain("ana@example.com", "ben@example.org"), Summary: Summary{Rows: 2, Accepted: 2}},
		},
		{
			"columns without a title and rows of separators are ignored", "email,,\nana@example.com,x,\n,,\n\nben@example.org,,\n",
			read{Recipients: plain("ana@example.com", "ben@example.org"), Summary: Summary{Rows: 2, Accepted: 2}},
		},
		{
			"duplicates in other spellings",
			"email\nAna@example.com\n ana@EXAMPLE.com \nj@münchen.example\nJ@xn--mnchen-3ya.example\nana@example.com\n",
			read{Recipients: plain("Ana@example.com", "j@xn--mnchen-3ya.example"), Summary: Summary{Rows: 5, Accepted: 2, Duplicates: 3}},
		},
		{
			"invalid addresses", "email,name\nbroken,\n,Ben\nana@example.com,\nana@localhost,\n",
			read{Recipients: plain("ana@example.com"), Summary: Summary{Rows: 4, Accepted: 1, Invalid: 3, InvalidLines: []int{2, 3, 5}}},
		},

		{
			"the names that programs give the column", "Email Address;Address\nana@example.com;Calle Mayor 1\n",
			read{
				Recipients: []campaign.Recipient{{Address: "ana@example.com", Variables: map[string]string{"Address": "Calle Mayor 1"}}},
				Summary:    Summary{Rows: 1, Accepted: 1},
			},
		},

		{
			"no address column", "name,city\nAna,Cádiz\n",
			read{Error: `line 1: no address column: the first line must name the columns, and one of them email; there are only "name", "city"`},
		},
		{
			"no address column, with semicolons", "\nname;city;\n",
			read{Error: `line 2: no address column: the first line must name the columns, and one of them email; there are only "name", "city", ""`},
		},
		{
			"no address column of many", strings.TrimPrefix(columns(12), ",") + "\n",
			read{Error: `line 1: no address column: the first line must name the columns, and one of them email; there are only ` +
				`"v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", …`},
		},
		{"several columns without a header", "\nana@example.com,Ana\n", read{Error: "line 2: no address column: the first line must name the columns, and one of them email"}},
		{"two columns of a name", "email,city,city\n", read{Error: "line 1: two columns have the same name: column 3"}},
		{"two address columns", "email,EMAIL\n", read{Error: "line 1: two columns have the same name: column 2"}},
		{
			"wrong number of fields", "email,name\nana@example.com,Ana\nben@example.org\n",
			read{
				Recipients: []campaign.Recipient{{Address: "ana@example.com", Name: "Ana"}}, Summary: Summary{Rows: 1, Accepted: 1},
				Error: "line 3: the line has 1 fields and the first has 2",
			},
		},
		{
			"unclosed quote", "email,name\nana@example.com,Ana\n\"ben@example.org,Ben\ncy@example.org,Cy\n",
			read{
				Recipients: []campaign.Recipient{{Address: "ana@example.com", Name: "Ana"}}, Summary: Summary{Rows: 1, Accepted: 1},
				Error: "line 3: a quote is opened and never closed",
			},
		},
		{
			"text after a quote", "email,name\nana@example.com,\"Ana\" Ruiz\n",
			read{Error: "line 2: text follows a closing quote: in a quoted field, write quotes twice"},
		},
		{
			"quote in a bare field", "email,name\nana@example.com,A\"na\n",
			read{Error: "line 2: a quote is in a field that is not quoted: quote the field, and write its quotes twice"},
		},
		{"not UTF-8", "email,name\nana@example.com,Mar\xeda\n", read{Error: "line 2: the line is not UTF-8: save the list as UTF-8"}},
		{
			"line ends of old programs for the Mac", "email,name,city\rana@example.com,Ana,Cádiz\rbroken,,\r",
			read{Recipients: []campaign.Recipient{ana}, Summary: Summary{Rows: 2, Accepted: 1, Invalid: 1, InvalidLines: []int{3}}},
		},
		{
			"bars", "email|name|city\nana@example.com|Ana|Cádiz\n",
			read{Recipients: []campaign.Recipient{ana}, Summary: Summary{Rows: 1, Accepted: 1}},
		},
		{"UTF-16", "\xff\xfee\x00m\x00", read{Error: "line 1: the list is UTF-16: save it as UTF-8"}},
		{
			"NUL", "email\nana@example.com\nb\x00\n",
			read{Recipients: plain("ana@example.com"), Summary: Summary{Rows: 1, Accepted: 1}, Error: "line 3: the line has a NUL byte: the list is not a text file; save it as text in UTF-8"},
		},
		{"line too long", "email,n\n" + strings.Repeat("x", MaxLine+10) + ",y\n", read{Error: "line 2: the line is longer than 64 KiB"}},
		{
			"record too long", "email,n\nana@example.com,\"" + strings.Repeat(strings.Repeat("x", 99)+"\n", 700),
			read{Error: "line 2: the record that begins here is longer than 64 KiB: is a quote not closed?"},
		},
		{
			"name too long", "email,name\nana@example.com," + strings.Repeat("é", MaxName+1) + "\n",
			read{Summary: Summary{Rows: 1}, Error: "line 2: the name is longer than 256 characters"},
		},
		{
			"value too long", "email,city\nana@example.com," + strings.Repeat("x", MaxVariableValue+1) + "\n",
			read{Summary: Summary{Rows: 1}, Error: `line 2: the variable "city" is longer than 1024 bytes`},
		},
		{
			"title too long", "email," + strings.Repeat("x", MaxVariableKey+1) + "\n",
			read{Error: "line 1: the name of a variable is longer than 64 characters"},
		},
		{"too many columns", "email,name" + columns(MaxVariables+1) + "\n", read{Error: "line 1: the list has more than 32 columns of variables"}},
		{"as many columns as there may be", "email,name" + columns(MaxVariables) + "\n", read{}},
		{"odd separator", "sep=x\nemail\n", read{Error: "line 1: the first line sets a separator that can't be one: use a comma, a semicolon, a tab or a bar"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, readAll(test.in, CSV)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// What people export by mistake is told by what it is.
func TestReadWhatIsNoList(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ in, want string }{
		"UTF-16, little endian, unmarked": {"e\x00m\x00a\x00", "line 1: the list is UTF-16"},
		"UTF-16, big endian, unmarked":    {"\x00e\x00m\x00a", "line 1: the list is UTF-16"},
		"XLSX":                            {"PK\x03\x04\x14\x00\x06\x00\n", "line 1: the list is a ZIP archive, or a spreadsheet such as XLSX"},
		"XLS":                             {"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "line 1: the list is a file of Excel or Word"},
		"PDF":                             {"%PDF-1.7\n", "line 1: the list is a PDF"},
		"Zstandard":                       {"\x28\xb5\x2f\xfd\x04\x58", "line 1: the list is compressed with another method than gzip"},
		"XZ":                              {"\xfd7zXZ\x00\x00", "line 1: the list is compressed with another method than gzip"},
		"bzip2":                           {"BZh91AY&SY\x94", "line 1: the list is compressed with another method than gzip"},
		"a page that asks for a password": {"\n<!DOCTYPE HTML>\n<title>Log in</title>\n", "line 1: the list is a web page"},
		"JSON Lines":                      {"\n{\"email\":\"ana@example.com\"}\n", "line 2: the list is JSON, not CSV: set spec.recipients.format"},
		"JSON on one line":                {"[{\"email\":\"ana@example.com\"}]", "line 1: the list is JSON, not CSV"},
		"JSON on many":                    {"[\n  {\n", "line 1: the list is JSON, not CSV"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := readAll(test.in, CSV).Error; !strings.HasPrefix(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if got := readAll(packed(t, test.in), CSV).Error; !strings.HasPrefix(got, test.want) {
				t.Errorf("compressed: got %q, want %q", got, test.want)
			}
		})
	}
	if got := readAll("{x@example.com\n", CSV); got.Summary.Accepted != 1 {
		t.Errorf("an address that begins with a brace: %+v", got)
	}
}

func columns(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ",v%d", i)
	}
	return b.String()
}

func TestInline(t *testing.T) {
	t.Parallel()
	list := Inline([]Entry{
		{Address: " Ana@Example.com", Name: "Ana\r\nBcc: x", Variables: map[string]string{"city": "Cádiz"}},
		{Address: "ana@example.com"},
		{Address: "broken"},
		{Address: "ben@example.org", Variables: map[string]string{"bad": "\xff"}},
	})
	got, err := list.Next(t.Context())
	want := campaign.Recipient{Address: "Ana@example.com", Name: "Ana Bcc: x", Variables: map[string]string{"city": "Cádiz"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("first: %v (-want +got)\n%s", err, diff)
	}
	for range 2 { // an error stays
		_, err = list.Next(t.Context())
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || syntax.Line != 4 {
			t.Errorf("Next = %v, want a SyntaxError of entry 4", err)
		}
	}
	wantTotals := campaign.Totals{Duplicates: 1, Invalid: 1, InvalidLines: []int{3}, Dropped: []campaign.Dropped{
		{Reason: "Duplicate", Count: 1, Lines: []int{2}}, {Reason: "NoAt", Count: 1, Lines: []int{3}},
	}}
	if diff := cmp.Diff(wantTotals, list.Totals()); diff != "" {
		t.Errorf("totals (-want +got)\n%s", diff)
	}
}

func TestDropped(t *testing.T) {
	t.Parallel()
	in := "broken\nana@example.com\nANA@example.com\nben@localhost\n@\nana@example.com\n\u0085x@example.com\n" +
		strings.Repeat("l", 65) + "@example.com\n" + strings.Repeat("broken\n", MaxDroppedLines)
	list := New(strings.NewReader(in), Lines)
	if _, err := drain(t, list); err != nil {
		t.Fatal(err)
	}
	lines := []int{1}
	for i := range MaxDroppedLines - 1 {
		lines = append(lines, 9+i)
	}
	want := []campaign.Dropped{
		{Reason: "NoAt", Count: MaxDroppedLines + 1, Lines: lines},
		{Reason: "Duplicate", Count: 2, Lines: []int{3, 6}},
		{Reason: "SingleLabel", Count: 1, Lines: []int{4}},
		{Reason: "LocalPart", Count: 1, Lines: []int{5}},
		{Reason: "LocalTooLong", Count: 1, Lines: []int{8}},
	}
	if diff := cmp.Diff(want, list.Dropped()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestEmptyAddressesAreDropped(t *testing.T) {
	t.Parallel()
	list := New(strings.NewReader("email,name\n,Ana\nx\vy@example.com,\nana@example.com,\n"), CSV)
	if _, err := drain(t, list); err != nil {
		t.Fatal(err)
	}
	want := []campaign.Dropped{{Reason: "Empty", Count: 1, Lines: []int{2}}, {Reason: "Control", Count: 1, Lines: []int{3}}}
	if diff := cmp.Diff(want, list.Dropped()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// drain reads a list to its end.
func drain(t *testing.T, list *List) (all []campaign.Recipient, err error) {
	t.Helper()
	for {
		recipient, err := list.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, recipient)
	}
}

func packed(tb testing.TB, text string) string {
	tb.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

func TestReadGzip(t *testing.T) {
	t.Parallel()
	for format, in := range map[Format]string{
		CSV:       "\ufeffemail,name\r\nana@example.com,Ana\r\nbroken,\r\n",
		JSONLines: `{"email":"ana@example.com","name":"Ana"}`,
		Lines:     "Ana <ana@example.com>\n\nben@example.org",
	} {
		if diff := cmp.Diff(readAll(in, format), readAll(packed(t, in), format)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", format, diff)
		}
	}
	tests := []struct{ name, in, want string }{
		{"cut short", packed(t, "ana@example.com\n")[:30], "the compressed list breaks off here: its gzip compression is damaged"},
		{
			"bomb", packed(t, strings.Repeat("\n", 8<<20)),
			"the compressed list breaks off here: what it decompresses to is out of proportion to its size, as in an archive bomb",
		},
		{"compressed twice", packed(t, packed(t, "ana@example.com\n")), "line 1: the line "},
	}
	for _, test := range tests {
		if got := readAll(test.in, Lines).Error; !strings.Contains(got, test.want) {
			t.Errorf("%s: %s", test.name, got)
		}
	}
}

func TestListKeepsTheFirstInvalidLines(t *testing.T) {
	t.Parallel()
	got := readAll(strings.Repeat("broken\n", MaxInvalidLines+5), Lines).Summary
	if got.Invalid != MaxInvalidLines+5 || len(got.InvalidLines) != MaxInvalidLines || got.InvalidLines[99] != 100 {
		t.Errorf("got %+v", got)
	}
}

func TestListStops(t *testing.T) {
	t.Parallel()
	t.Run("unknown format", func(t *testing.T) {
		t.Parallel()
		if _, err := New(strings.NewReader("x"), "XLSX").Next(t.Context()); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("Next = %v, want an error", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		list := New(strings.NewReader("a@b.c\n"), Lines)
		if _, err := list.Next(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Next = %v, want context.Canceled", err)
		}
		if got, err := list.Next(t.Context()); err != nil || got.Address != "a@b.c" {
			t.Errorf("Next with another context = %v, %v", got, err)
		}
	})
	t.Run("the reader fails", func(t *testing.T) {
		t.Parallel()
		broken := errors.New("connection lost")
		for _, format := range []Format{CSV, JSONLines, Lines} {
			_, err := Read(io.MultiReader(strings.NewReader("\n"), iotest.ErrReader(broken)), format, nil)
			if !errors.Is(err, broken) {
				t.Errorf("%s: %v, want %v", format, err, broken)
			}
		}
	})
	t.Run("the handler fails", func(t *testing.T) {
		t.Parallel()
		full := errors.New("full")
		_, err := Read(strings.NewReader("a@b.c\n"), Lines, func(campaign.Recipient) error { return full })
		if !errors.Is(err, full) {
			t.Errorf("%v, want %v", err, full)
		}
	})
}

// Reading byte by byte changes nothing: no boundary of a read falls into a wrong place.
func TestReadInSmallPieces(t *testing.T) {
	t.Parallel()
	in := "\ufeffemail;name\r\nana@example.com;\"Ñu\r\nñez\"\r\nben@münchen.example;Ben\r\n"
	var got []campaign.Recipient
	_, err := Read(iotest.OneByteReader(strings.NewReader(in)), CSV, func(r campaign.Recipient) error {
		got = append(got, r)
		return nil
	})
	if diff := cmp.Diff(readAll(in, CSV).Recipients, got); diff != "" || err != nil || len(got) != 2 {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

func TestSet(t *testing.T) {
	t.Parallel()
	var s set
	const n = 50_000
	for round := range 2 {
		for i := range n {
			if got, want := s.add(fmt.Appendf(nil, "user%d@example.com", i)), round == 0; got != want {
				t.Fatalf("round %d: add of key %d = %v", round, i, got)
			}
		}
	}
	slots := 0
	for i := range s.parts {
		slots += len(s.parts[i].slots)
	}
	if slots > 2*n {
		t.Errorf("%d slots for %d keys", slots, n)
	}
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"email,name\nana@example.com,Ana\n", "\ufeffemail;x\r\n\"a@b.c\";\"1\r\n2\"\r\n", "a@b.c\n\"", "sep=;\nemail\na@b.c", "sep=\n", "sep=\r\n",
		"# c\nAna <a@b.c>\n<", `{"email":"a@b.c","variables":{"a":1}}`, "{\"email\":\"a@b.c\"}\n{}", "email\tname\n\"", "\n\n\nemail\nx", "\"email\n\",a\nb", "email|a",
		packed(f, "email,name\nana@example.com,Ana\nANA@example.com,\n"), packed(f, "a@b.c\n")[:20], "name;city\nAna;x\n",
	} {
		for i := range 3 {
			f.Add(seed, i)
		}
	}
	f.Fuzz(func(t *testing.T, in string, n int) {
		format := []Format{CSV, JSONLines, Lines}[(n%3+3)%3]
		got := readAll(in, format)
		s := got.Summary
		lost := int64(0) // the entry that the error is about
		if got.Error != "" {
			lost = s.Rows - s.Accepted - s.Duplicates - s.Invalid
		}
		if s.Rows != s.Accepted+s.Duplicates+s.Invalid+lost || lost > 1 || s.Accepted != int64(len(got.Recipients)) {
			t.Fatalf("the counts do not add up: %+v", got)
		}
		seen := map[string]bool{}
		for _, r := range got.Recipients {
			if again, err := ParseAddress(r.Address); again != r.Address || err != nil || seen[Key(r.Address)] {
				t.Fatalf("recipient %+v is not normalised or a duplicate", r)
			}
			seen[Key(r.Address)] = true
			if strings.ContainsAny(r.Name, "\r\n\x00") || len(r.Variables) > MaxVariables {
				t.Fatalf("recipient %+v breaks the bounds", r)
			}
		}
		if strings.Contains(got.Error, "@") {
			t.Fatalf("the error %q may quote an address", got.Error)
		}
		again, dropped := New(strings.NewReader(in), format), int64(0)
		if _, err := drain(t, again); (err != nil) != (got.Error != "") {
			t.Fatalf("read again: %v", err)
		}
		for _, d := range again.Dropped() {
			dropped += d.Count
			if int64(len(d.Lines)) != min(d.Count, MaxDroppedLines) || !slices.IsSorted(d.Lines) || Reason(d.Reason).Text() == "" {
				t.Fatalf("dropped %+v", d)
			}
		}
		if dropped != s.Duplicates+s.Invalid {
			t.Fatalf("%d dropped by reason: %+v", dropped, got)
		}
		for _, line := range s.InvalidLines {
			if line < 1 || line > strings.Count(in, "\n")+1 && !gunzip.Found([]byte(in)) {
				t.Fatalf("line %d of %d", line, strings.Count(in, "\n")+1)
			}
		}
	})
}
