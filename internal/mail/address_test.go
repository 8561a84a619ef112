package mail

import (
	"errors"
	"strings"
	"testing"
)

func TestCheckAddress(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 64)
	for address, want := range map[string]error{
		"alice@receiver.example":                    nil,
		"a.l.i_c-e+tag@mx-1.receiver.example":       nil,
		"!#$%&'*+-/=?^_`{|}~@receiver.example":      nil,
		"alicé@réceiver.example":                    nil,
		"алиса@почта.example":                       nil,
		long + "@receiver.example":                  nil,
		"":                                          ErrAddressSyntax,
		"alice":                                     ErrAddressSyntax,
		"@receiver.example":                         ErrAddressSyntax,
		"alice@":                                    ErrAddressSyntax,
		".alice@receiver.example":                   ErrAddressSyntax,
		"alice.@receiver.example":                   ErrAddressSyntax,
		"al..ice@receiver.example":                  ErrAddressSyntax,
		"é..ice@receiver.example":                   ErrAddressSyntax,
		"alice@receiver..example":                   ErrAddressSyntax,
		"alice@.receiver.example":                   ErrAddressSyntax,
		"alice@receiver.example.":                   ErrAddressSyntax,
		"alice@recei+ver.example":                   ErrAddressSyntax,
		"alice@[192.0.2.1]":                         ErrAddressSyntax,
		"al ice@receiver.example":                   ErrAddressSyntax,
		"alice@receiver.example\r\nRCPT TO:<b@c.d>": ErrAddressSyntax,
		"\"alice\"@receiver.example":                ErrAddressSyntax,
		"alice@bob@receiver.example":                ErrAddressSyntax,
		"al\x00ice@receiver.example":                ErrAddressSyntax,
		"al\x7fice@receiver.example":                ErrAddressSyntax,
		"al\xffice@receiver.example":                ErrAddressSyntax,
		"al\u202eice@receiver.example":              ErrAddressSyntax,
		long + "a@receiver.example":                 ErrAddressLength,
		"a@" + strings.Repeat("b.", 126) + "c":      ErrAddressLength,
	} {
		if err := CheckAddress(address); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", address, err, want)
		}
	}
}

// TestAlphabetsByTable: what the tables say of ASCII is what is said of any text.
func TestAlphabetsByTable(t *testing.T) {
	t.Parallel()
	for _, alphabet := range []*alphabet{atoms, hosts} {
		for first := range 0x80 {
			for second := range 0x80 {
				text := string([]byte{byte(first), byte(second)})
				if got, want := alphabet.dotted(text), alphabet.dottedRunes(text); got != want {
					t.Errorf("%q: %v, want %v", text, got, want)
				}
			}
		}
	}
}
