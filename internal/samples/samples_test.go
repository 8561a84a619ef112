package samples

import (
	"bytes"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/devstack/inbox"
	"github.com/cartero-mail/cartero/internal/recipients"
)

const directory = "../../config/samples/"

func TestCommittedListIsTheGenerated(t *testing.T) {
	t.Parallel()
	committed, err := os.ReadFile(directory + "recipients.csv")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(committed, List()) {
		t.Error("config/samples/recipients.csv is not what the generator makes: run go generate ./internal/samples")
	}
}

func TestListComesToWhatIsExpected(t *testing.T) {
	t.Parallel()
	refusing := map[string]bool{}
	for _, rule := range inbox.Rules {
		refusing[rule.Domain] = true
	}
	got := Expected{Refused: map[string]int64{}}
	scripts := map[string]bool{}
	summary, err := recipients.Read(bytes.NewReader(List()), recipients.CSV, func(r campaign.Recipient) error {
		local, domain, _ := strings.Cut(r.Address, "@")
		if refusing[domain] {
			got.Refused[domain]++
		}
		if !slices.ContainsFunc([]string{".example", ".test", "example.com", "example.net", "example.org"}, func(end string) bool {
			return strings.HasSuffix(domain, end)
		}) {
			t.Errorf("the domain %s is not a reserved one", domain)
		}
		if strings.ContainsFunc(local, func(c rune) bool { return c > unicode.MaxASCII }) {
			t.Errorf("%s needs SMTPUTF8", r.Address)
		}
		for _, c := range r.Name {
			for script, table := range unicode.Scripts {
				if unicode.Is(table, c) {
					scripts[script] = true
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got.Rows, got.Duplicates, got.Invalid, got.InvalidLines = summary.Rows, summary.Duplicates, summary.Invalid, summary.InvalidLines
	want := Campaigns["newsletter-autumn"]
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if summary.Accepted != want.Recipients() || want.Delivered() != 955 {
		t.Errorf("%d accepted, %d to be delivered", summary.Accepted, want.Delivered())
	}
	for _, script := range []string{"Latin", "Cyrillic", "Greek", "Arabic", "Hebrew", "Han", "Hiragana", "Hangul", "Devanagari", "Thai"} {
		if !scripts[script] {
			t.Errorf("no name in %s, only in %v", script, slices.Sorted(maps.Keys(scripts)))
		}
	}
}

func TestListIsAsSpreadsheetsWriteThem(t *testing.T) {
	t.Parallel()
	list := string(List())
	if !strings.HasPrefix(list, "\ufeff") || strings.Count(list, "\n") != strings.Count(list, "\r\n") {
		t.Error("no byte order mark, or a line without CRLF")
	}
	for _, part := range []string{"\"\"", ", ", "\r\n(centro)\"", "\" ", "@XN--"} {
		if !strings.Contains(list, part) {
			t.Errorf("nothing has %q in it", part)
		}
	}
	if len(list) > 200_000 { // kubectl apply keeps a copy in an annotation of at most 256 KiB
		t.Errorf("the list has %d bytes", len(list))
	}
}
