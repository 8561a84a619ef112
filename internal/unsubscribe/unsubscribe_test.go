package unsubscribe_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/cartero-mail/cartero/internal/unsubscribe"
)

const (
	base = "https://mail.example.com/unsubscribe/"
	id   = "0a1b2c3d-4e5f-8000-a123-456789abcdef"
)

func secret(letter string) []byte { return []byte(strings.Repeat(letter, unsubscribe.MinKey)) }

func links(tb testing.TB, base string, current []byte, old ...[]byte) *unsubscribe.Links {
	tb.Helper()
	l, err := unsubscribe.New(base, current, old...)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func tokenOf(tb testing.TB, l *unsubscribe.Links, id string) string {
	tb.Helper()
	token, ok := strings.CutPrefix(l.URL(id), base)
	if !ok || len(token) != unsubscribe.TokenLength {
		tb.Fatalf("the URL is %q", l.URL(id))
	}
	return token
}

func TestURLIsReadAgain(t *testing.T) {
	t.Parallel()
	for _, spelling := range []string{base, strings.TrimSuffix(base, "/")} {
		l := links(t, spelling, secret("k"))
		for _, id := range []string{id, uuid.Nil.String(), uuid.NewString()} {
			got, err := l.Parse(tokenOf(t, l, id))
			if err != nil || got != id {
				t.Errorf("Parse: got %q and %v, want %q", got, err, id)
			}
		}
	}
}

// Mails that were sent keep their links: the tokens of a key may never change.
func TestTokensStayTheSame(t *testing.T) {
	t.Parallel()
	const want = "q8an1VyvEZ4C0asNt72lgX-u23ta6E9yPuGdY3QJfLg"
	got := tokenOf(t, links(t, base, secret("k")), id)
	if got != want {
		t.Errorf("the token of the key is %q, want %q", got, want)
	}
}

func TestTokensTellNothing(t *testing.T) {
	t.Parallel()
	l := links(t, base, secret("k"))
	one, other := tokenOf(t, l, id), tokenOf(t, l, id[:len(id)-1]+"e")
	same := 0
	for i := range one {
		if one[i] == other[i] {
			same++
		}
	}
	if same > 12 {
		t.Errorf("tokens of neighbours share %d of %d characters", same, len(one))
	}
}

func TestOldKeysAreRead(t *testing.T) {
	t.Parallel()
	before, after := links(t, base, secret("a")), links(t, base, secret("b"), secret("x"), secret("a"))
	if got, err := after.Parse(tokenOf(t, before, id)); err != nil || got != id {
		t.Errorf("the old token: got %q and %v, want %q", got, err, id)
	}
	if _, err := before.Parse(tokenOf(t, after, id)); !errors.Is(err, unsubscribe.ErrInvalid) {
		t.Errorf("a token of a key that is not known: got %v", err)
	}
}

func TestForgedTokens(t *testing.T) {
	t.Parallel()
	l := links(t, base, secret("k"))
	token := tokenOf(t, l, id)
	forged := []string{
		"", "x", token[1:], token + "A", token[:42] + "=", strings.Repeat("A", 43), token[:21] + "\n" + token[22:],
		tokenOf(t, links(t, base, secret("l")), id), strings.ToLower(token), token[:20] + "\n\n" + token[20:41],
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range token {
		for _, c := range []byte{'A', 'b', '-', '+', '/', alphabet[(strings.IndexByte(alphabet, token[i])+1)%64]} {
			if c != token[i] {
				forged = append(forged, token[:i]+string(c)+token[i+1:])
			}
		}
	}
	for _, token := range forged {
		if id, err := l.Parse(token); !errors.Is(err, unsubscribe.ErrInvalid) || id != "" {
			t.Errorf("Parse(%q): got %q and %v", token, id, err)
		}
	}
}

func TestNoURL(t *testing.T) {
	t.Parallel()
	var none *unsubscribe.Links
	for name, url := range map[string]string{
		"no links": none.URL(id), "no base": links(t, "", secret("k")).URL(id), "no UUID": links(t, base, secret("k")).URL("legacy-0"),
	} {
		if url != "" {
			t.Errorf("%s: got %q", name, url)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, base := range []string{
		"http://mail.example.com/u", "mail.example.com/u", "https://", "https:///u", "https://:443/", "https:mail.example.com", "https://u:p@mail.example.com/",
		"https://mail.example.com/?t=", "https://mail.example.com/?", "https://mail.example.com/#", "https://mail.example.com/a b",
		"https://mail.example.com/<u>", "https://mail.example.com/a,b", "https://böse.example/", "https://mail.example.com/\r\n",
		"https://mail.example.com/" + strings.Repeat("a", 255), "javascript:alert(1)",
	} {
		if _, err := unsubscribe.New(base, secret("k")); err == nil {
			t.Errorf("base %q was taken", base)
		}
	}
	for _, keys := range [][][]byte{{nil}, {secret("k")[1:]}, {secret("k"), secret("k")[1:]}} {
		_, err := unsubscribe.New(base, keys[0], keys[1:]...)
		if err == nil || strings.Contains(err.Error(), "kkk") {
			t.Errorf("short keys: got %v, want an error without a key", err)
		}
	}
}

func FuzzParse(f *testing.F) {
	l := links(f, base, secret("k"), secret("a"))
	f.Add(tokenOf(f, l, id))
	f.Add(tokenOf(f, links(f, base, secret("a")), id))
	f.Add("")
	f.Add(strings.Repeat("_", unsubscribe.TokenLength))
	f.Fuzz(func(t *testing.T, token string) {
		got, err := l.Parse(token)
		if err != nil {
			if got != "" || !errors.Is(err, unsubscribe.ErrInvalid) {
				t.Errorf("got %q and %v", got, err)
			}
			return
		}
		// What is read was made: there is no other spelling.
		if token != tokenOf(t, l, got) && token != tokenOf(t, links(t, base, secret("a")), got) {
			t.Errorf("%q is read as %s, whose token is another", token, got)
		}
	})
}

func BenchmarkURL(b *testing.B) {
	l := links(b, base, secret("k"))
	b.ReportAllocs()
	for b.Loop() {
		_ = l.URL(id)
	}
}
