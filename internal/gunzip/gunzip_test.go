package gunzip_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/cartero-mail/cartero/internal/gunzip"
)

func pack(tb testing.TB, parts ...string) string {
	tb.Helper()
	var b bytes.Buffer
	for _, part := range parts { // one member each
		w := gzip.NewWriter(&b)
		if _, err := io.WriteString(w, part); err != nil {
			tb.Fatal(err)
		}
		if err := w.Close(); err != nil {
			tb.Fatal(err)
		}
	}
	return b.String()
}

func TestReader(t *testing.T) {
	t.Parallel()
	text := "email\nana@example.com\n"
	zeros := strings.Repeat("\x00", 8<<20)
	lost := errors.New("connection lost")
	tests := []struct {
		name   string
		in     io.Reader
		limits gunzip.Limits
		want   string
		err    error
	}{
		{"plain", strings.NewReader(pack(t, text)), gunzip.Limits{}, text, nil},
		{"byte by byte", iotest.OneByteReader(strings.NewReader(pack(t, text))), gunzip.Limits{}, text, nil},
		{"several members", strings.NewReader(pack(t, text, text)), gunzip.Limits{}, text + text, nil},
		{"empty contents", strings.NewReader(pack(t, "")), gunzip.Limits{}, "", nil},
		{"as much as there may be", strings.NewReader(pack(t, text)), gunzip.Limits{Bytes: int64(len(text))}, text, nil},
		{"too much", strings.NewReader(pack(t, text)), gunzip.Limits{Bytes: int64(len(text)) - 1}, "", gunzip.ErrTooLarge},
		{"bomb", strings.NewReader(pack(t, zeros)), gunzip.Limits{}, "*", gunzip.ErrRatio},
		{"bomb of members", strings.NewReader(pack(t, zeros[:1<<20], zeros[:1<<20], zeros[:1<<20], zeros[:1<<20], zeros[:1<<20])), gunzip.Limits{}, "*", gunzip.ErrRatio},
		{"a ratio that is allowed", strings.NewReader(pack(t, zeros)), gunzip.Limits{Ratio: 1100}, zeros, nil},
		{"nothing", strings.NewReader(""), gunzip.Limits{}, "", gunzip.ErrDamaged},
		{"not gzip", strings.NewReader(text), gunzip.Limits{}, "", gunzip.ErrDamaged},
		{"cut short", strings.NewReader(pack(t, text)[:20]), gunzip.Limits{}, "*", gunzip.ErrDamaged},
		{"wrong checksum", strings.NewReader(strings.Replace(pack(t, text), pack(t, text)[len(pack(t, text))-8:], "12345678", 1)), gunzip.Limits{}, "*", gunzip.ErrDamaged},
		{"text behind it", strings.NewReader(pack(t, text) + "more"), gunzip.Limits{}, "*", gunzip.ErrDamaged},
		{"the source fails", io.MultiReader(strings.NewReader(pack(t, text)[:15]), iotest.ErrReader(lost)), gunzip.Limits{}, "*", lost},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := gunzip.NewReader(test.in, test.limits)
			got, err := io.ReadAll(r)
			if !errors.Is(err, test.err) {
				t.Fatalf("error %v, want %v", err, test.err)
			}
			if test.want != "*" && string(got) != test.want {
				t.Errorf("got %d bytes %.40q", len(got), got)
			}
			if _, again := r.Read(make([]byte, 1)); test.err != nil && !errors.Is(again, test.err) {
				t.Errorf("reading on after the error: %v", again)
			}
		})
	}
}

func TestFound(t *testing.T) {
	t.Parallel()
	for head, want := range map[string]bool{pack(t, "x"): true, "\x1f\x8b": false, "": false, "email\n": false, "\x1f\x8b\x09..": false} {
		if got := gunzip.Found([]byte(head)); got != want {
			t.Errorf("Found(%q) = %v", head, got)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte(pack(f, "email\n")))
	f.Add([]byte(pack(f, strings.Repeat("a", 100000))))
	f.Fuzz(func(t *testing.T, in []byte) {
		n, err := io.Copy(io.Discard, gunzip.NewReader(bytes.NewReader(in), gunzip.Limits{Bytes: 1 << 16}))
		if n > 1<<16 {
			t.Fatalf("%d bytes came out", n)
		}
		if err != nil && !errors.Is(err, gunzip.ErrDamaged) && !errors.Is(err, gunzip.ErrTooLarge) && !errors.Is(err, gunzip.ErrRatio) {
			t.Fatal(err)
		}
	})
}
