package recipients

import (
	"errors"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/net/idna"
)

func TestParseAddress(t *testing.T) {
	t.Parallel()
	label63 := strings.Repeat("d", 63)
	tests := []struct {
		name, in, want string
		reason         Reason
	}{
		{"plain", "ana@example.com", "ana@example.com", ""},
		{"spaces around", " \u00a0ana@example.com\t\r\n", "ana@example.com", ""},
		{"zero-width characters around", "\ufeffana@example.com\u200b", "ana@example.com", ""},
		{"the local part keeps its case, the domain does not", "Ana.Ruiz@Example.COM", "Ana.Ruiz@example.com", ""},
		{"every character of an atom", "a!#$%&'*+-/=?^_`{|}~9@example.com", "a!#$%&'*+-/=?^_`{|}~9@example.com", ""},
		{"U-label", "j.müller@münchen.example", "j.müller@xn--mnchen-3ya.example", ""},
		{"U-label in upper case", "jm@MÜNCHEN.example", "jm@xn--mnchen-3ya.example", ""},
		{"decomposed U-label", "jm@mu\u0308nchen.example", "jm@xn--mnchen-3ya.example", ""},
		{"sharp s is kept (not transitional)", "a@straße.example", "a@xn--strae-oqa.example", ""},
		{"A-label", "jm@XN--MNCHEN-3YA.example", "jm@xn--mnchen-3ya.example", ""},
		{"ideographic full stop and full width", "a@例え。ｅxample", "a@xn--r8jz45g.example", ""},
		{"right to left", "a@שלום.example", "a@xn--9dbne9b.example", ""},
		{"decomposed local part", "jose\u0301@example.com", "josé@example.com", ""},
		{"local part in another script", "иван@example.com", "иван@example.com", ""},
		{"hyphens", "a@b-c.example", "a@b-c.example", ""},
		{"numeric label", "a@123.example", "a@123.example", ""},
		{"longest local part", strings.Repeat("l", 64) + "@example.com", strings.Repeat("l", 64) + "@example.com", ""},
		{
			"longest that is stored", "a@" + label63 + "." + label63 + "." + strings.Repeat("e", 61),
			"a@" + label63 + "." + label63 + "." + strings.Repeat("e", 61), "",
		},

		{"empty", "", "", ReasonEmpty},
		{"only spaces", " \u3000 ", "", ReasonEmpty},
		{"not UTF-8", "an\xe9@example.com", "", ReasonEncoding},
		{"line break", "ana@example.com\r\nBcc: eve@example.com", "", ReasonControl},
		{"NUL", "ana\x00@example.com", "", ReasonControl},
		{"C1 control", "ana\u0085x@example.com", "", ReasonControl},
		{"no at", "ana.example.com", "", ReasonNoAt},
		{"two at", "ana@ruiz@example.com", "", ReasonLocalPart},
		{"nothing before the at", "@example.com", "", ReasonLocalPart},
		{"space inside", "ana ruiz@example.com", "", ReasonLocalPart},
		{"comma", "ana,ruiz@example.com", "", ReasonLocalPart},
		{"angle brackets", "<ana@example.com>", "", ReasonLocalPart},
		{"angle bracket at the end", "ana@example.com>", "", ReasonDomain},
		{"leading dot", ".ana@example.com", "", ReasonLocalPart},
		{"trailing dot", "ana.@example.com", "", ReasonLocalPart},
		{"two dots", "ana..ruiz@example.com", "", ReasonLocalPart},
		{"becomes a semicolon when normalised", "a\u037eb@example.com", "", ReasonLocalPart},
		{"right-to-left override", "ana\u202egpj@example.com", "", ReasonLocalPart},
		{"zero-width space inside", "a\u200bna@example.com", "", ReasonLocalPart},
		{"private use", "a\ue000@example.com", "", ReasonLocalPart},
		{"quoted", `"ana ruiz"@example.com`, "", ReasonQuoted},
		{"local part too long", strings.Repeat("l", 65) + "@example.com", "", ReasonLocalTooLong},
		{"local part too long in octets", strings.Repeat("é", 33) + "@example.com", "", ReasonLocalTooLong},
		{"IPv4 literal", "ana@[192.0.2.1]", "", ReasonAddressLit},
		{"IPv6 literal", "ana@[IPv6:2001:db8::1]", "", ReasonAddressLit},
		{"IPv4", "ana@192.0.2.1", "", ReasonAddressLit},
		{"numeric top-level domain", "ana@example.123", "", ReasonDomain},
		{"no domain", "ana@", "", ReasonDomain},
		{"single label", "ana@localhost", "", ReasonSingleLabel},
		{"domain begins with a dot", "ana@.example.com", "", ReasonDomain},
		{"domain ends with a dot", "ana@example.com.", "", ReasonDomain},
		{"two dots in the domain", "ana@example..com", "", ReasonDomain},
		{"underscore", "ana@ex_ample.com", "", ReasonDomain},
		{"label begins with a hyphen", "ana@-example.com", "", ReasonDomain},
		{"label ends with a hyphen", "ana@example-.com", "", ReasonDomain},
		{"hyphens in third and fourth place", "ana@ab--cd.com", "", ReasonDomain},
		{"broken A-label", "ana@xn--a\u00e4.com", "", ReasonDomain},
		{"label too long", "ana@" + label63 + "d.example", "", ReasonDomain},
		{"symbol in the domain", "ana@ex☃\u202eample.com", "", ReasonDomain},
		{"mixes directions once mapped", "ana@Aℸ.example", "", ReasonDomain},
		{"longer than the table holds", "a@" + label63 + "." + label63 + "." + strings.Repeat("e", 62), "", ReasonTooLongStored},
		{"longer than a path", strings.Repeat("l", 64) + "@" + label63 + "." + label63 + "." + label63, "", ReasonTooLong},
		{"much longer", strings.Repeat("l", 1<<16) + "@example.com", "", ReasonTooLong},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseAddress(test.in)
			if got != test.want || ReasonOf(err) != test.reason || (err == nil) != (test.reason == "") {
				t.Errorf("ParseAddress(%q) = %q, %v; want %q, %q", test.in, got, err, test.want, test.reason)
			}
			if err != nil && strings.Contains(err.Error(), "ana") {
				t.Errorf("the error %q quotes the address", err)
			}
		})
	}
}

func TestEveryReasonHasASentence(t *testing.T) {
	t.Parallel()
	for reason, text := range reasonTexts {
		if got := invalid(reason).Error(); text == "" || got != "invalid address: "+text {
			t.Errorf("reason %s reads %q", reason, got)
		}
	}
	if got := ReasonOf(errors.New("other")); got != "" {
		t.Errorf("ReasonOf another error is %q", got)
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"ana@example.com":      "ana@example.com",
		"Ana.Ruiz@example.com": "ana.ruiz@example.com",
		"ÁNA@example.com":      "Ána@example.com", // beyond ASCII the case is the mailbox's own
	}
	for address, want := range tests {
		if got := Key(address); got != want {
			t.Errorf("Key(%q) = %q, want %q", address, got, want)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{
		"ana@example.com", "j.müller@münchen.example", "a@xn--mnchen-3ya.example", "иван@пример.test", "a@b-c--d.e",
		`"q"@example.com`, "a@[1.2.3.4]", "a\u037eb@c.d", "\u212a@\u212a.example", "x@ß.ẞ", "a@a\u200db.example", "A@B.C.", "a@0.0", "a@Aℸ.A",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		address, err := ParseAddress(in)
		if err != nil {
			if address != "" || ReasonOf(err) == "" {
				t.Fatalf("ParseAddress(%q) = %q, %v", in, address, err)
			}
			return
		}
		if again, err := ParseAddress(address); again != address || err != nil {
			t.Fatalf("ParseAddress(%q) = %q, which parses as %q, %v", in, address, again, err)
		}
		if len(address) > MaxStored || strings.ContainsFunc(address, unicode.IsControl) || strings.ContainsAny(address, `<>" ,;:()[]\`) {
			t.Fatalf("ParseAddress(%q) = %q is not fit for an SMTP command", in, address)
		}
		local, domain, _ := strings.Cut(address, "@")
		if !ascii(domain) || strings.ToLower(domain) != domain || local == "" {
			t.Fatalf("ParseAddress(%q) = %q: the domain is not an A-label in lower case", in, address)
		}
		if mapped, err := idna.Lookup.ToASCII(domain); mapped != domain || err != nil { // also where the mapping was spared
			t.Fatalf("the domain of %q maps to %q, %v", address, mapped, err)
		}
		if key := Key(address); Key(key) != key || len(key) != len(address) {
			t.Fatalf("Key(%q) = %q", address, key)
		}
	})
}
