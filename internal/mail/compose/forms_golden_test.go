package compose

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/mail"
)

var update = flag.Bool("update", false, "write the golden files anew")

func (f form) compose(t *testing.T) Mail {
	t.Helper()
	template, err := NewTemplate(f.content)
	if err != nil {
		t.Fatal(err)
	}
	m, err := template.Append(nil, f.to)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestForms compares each form with its golden file, which has LF for CRLF.
func TestForms(t *testing.T) {
	t.Parallel()
	for name, f := range forms() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := f.compose(t)
			checkForm(t, m)
			path := filepath.Join("testdata", "forms", name+".eml")
			got := strings.ReplaceAll(string(m.Raw), "\r\n", "\n")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", path, diff)
			}
			again := f.compose(t)
			if !bytes.Equal(again.Raw, m.Raw) {
				t.Error("the same mail became other bytes")
			}
		})
	}
}

// checkForm checks what a strict relay would: bodies in lines of 76, header fields with encoded-words too.
func checkForm(t *testing.T, m Mail) {
	t.Helper()
	if m.SMTPUTF8 != !mail.IsASCII(string(m.Raw)) {
		t.Errorf("SMTPUTF8 is %v", m.SMTPUTF8)
	}
	head, body, _ := strings.Cut(string(m.Raw), "\r\n\r\n")
	if !strings.HasSuffix(body, "\r\n") || strings.Count(body, "\n") != strings.Count(body, "\r\n") || strings.Count(body, "\r") != strings.Count(body, "\n") {
		t.Error("a bare CR or LF, or no end")
	}
	for line := range strings.SplitSeq(body, "\r\n") {
		if len(line) > 78 || strings.HasSuffix(line, " ") {
			t.Errorf("a line of %d octets: %q", len(line), line)
		}
	}
	for line := range strings.SplitSeq(head, "\r\n") {
		if strings.Contains(line, "=?UTF-8?") && len(line) > 76 || len(line) > maxLine || strings.TrimSpace(line) == "" {
			t.Errorf("a header line of %d octets: %q", len(line), line)
		}
	}
}

// TestFormsWithPython reads each form with the parser of another language.
func TestFormsWithPython(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs Python 3")
	}
	all := forms()
	var names []string
	var raws [][]byte
	for name, f := range all {
		names = append(names, name)
		raws = append(raws, f.compose(t).Raw)
	}
	for i, got := range readWithPython(t, raws) {
		want := all[names[i]].want
		want.Headers = slices.Clone(want.Headers)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", names[i], diff)
		}
	}
}

// readWithPython reads messages with testdata/parse.py. Fields that every mail has are checked, and left out.
func readWithPython(t *testing.T, raws [][]byte) []received {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Fatal("this needs Python 3.11 or newer, whose e-mail parser is an independent one: install python3")
	}
	var input bytes.Buffer
	for _, raw := range raws {
		input.WriteString(base64.StdEncoding.EncodeToString(raw) + "\n")
	}
	cmd := exec.Command("python3", filepath.Join("testdata", "parse.py"))
	cmd.Stdin, cmd.Stderr = &input, os.Stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatal("python3:", err)
	}
	var all []received
	lines := bufio.NewScanner(bytes.NewReader(output))
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var read struct {
			Headers   [][2]string
			Addresses map[string][][2]string
			Shape     string
			Defects   []string
			Parts     []struct {
				Type, Disposition, Name, ID, Charset string
				Text                                 *string
				Data                                 []byte
			}
		}
		if err := json.Unmarshal(lines.Bytes(), &read); err != nil {
			t.Fatal(err)
		}
		if len(read.Defects) > 0 {
			t.Errorf("Python finds defects: %v", read.Defects)
		}
		r := received{From: read.Addresses["From"][0], To: read.Addresses["To"][0], Shape: read.Shape}
		for _, p := range read.Parts {
			part := receivedPart{Type: p.Type, Disposition: p.Disposition, Name: p.Name, ID: p.ID, Data: p.Data}
			if p.Text != nil {
				part.Text = strings.ReplaceAll(*p.Text, "\r\n", "\n")
			}
			r.Parts = append(r.Parts, part)
		}
		if len(r.Parts) == 1 && strings.HasSuffix(r.Parts[0].Text, "\n\n") {
			t.Error("a blank line at the end that nobody wrote")
		}
		common := 0
		for _, h := range read.Headers {
			switch h[0] {
			case "Date", "MIME-Version", "Message-ID", "From", "To", "Content-Type":
				common++
			case "Content-Transfer-Encoding":
			default:
				r.Headers = append(r.Headers, h)
			}
		}
		if common != 6 {
			t.Errorf("%d of the fields that every mail has", common)
		}
		all = append(all, r)
	}
	if len(all) != len(raws) {
		t.Fatalf("Python read %d of %d messages", len(all), len(raws))
	}
	return all
}
