package mail_test

import (
	"testing"

	"github.com/cartero-mail/cartero/internal/mail"
)

// A tail goes over the wire as it is, so it must be what may.
func TestNewTail(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]bool{
		"a\r\n": true, "\r\n--b\r\nQUJD\r\n": true,
		"": false, "a": false, "a\n": false, "a\r\r\n": false, "a\rb\r\n": false, ".\r\n": false, "a\r\n.\r\n": false, "é\r\n": false, "\xff\r\n": false,
	} {
		tail, ok := mail.NewTail([]byte(data))
		if ok != want || ok && string(tail.Bytes()) != data || !ok && tail.Len() != 0 {
			t.Errorf("%q: %t, %q", data, ok, tail.Bytes())
		}
	}
}
