package compose

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/test/nodejs"
)

// shown is what npm's mailparser makes of a mail: it keeps the parts, and not how they are nested.
type shown struct {
	Headers         [][2]string
	From, To        [2]string
	Date, MessageID string
	Text, HTML      string
	Files           []shownFile
}

type shownFile struct {
	Type, Disposition, Name, ID string
	Data                        []byte
}

// shown is what a receiver must see of a form.
func (f form) shown() shown {
	s := shown{
		From: f.want.From, To: f.want.To, Headers: [][2]string{}, Files: []shownFile{},
		Date: f.to.Date.UTC().Format("2006-01-02T15:04:05.000Z07:00"), MessageID: "<" + f.to.MessageID + ">",
	}
	for _, h := range f.want.Headers {
		s.Headers = append(s.Headers, [2]string{strings.ToLower(h[0]), h[1]})
	}
	for _, p := range f.want.Parts {
		switch {
		case p.Disposition != "" && p.Text != "": // a text that is attached comes as it is on the wire
			s.Files = append(s.Files, shownFile{p.Type, p.Disposition, p.Name, p.ID, []byte(p.Text)})
		case p.Disposition != "":
			s.Files = append(s.Files, shownFile{p.Type, p.Disposition, p.Name, p.ID, p.Data})
		case p.Type == "text/html":
			s.HTML = p.Text
		default:
			s.Text = p.Text
		}
	}
	return s
}

// TestFormsWithMailparser reads each form with a second independent parser, which many programs in Node.js use.
func TestFormsWithMailparser(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs Node.js")
	}
	node := nodejs.Start(t, "mail/parse.js", nil)
	for name, f := range forms() {
		var got shown
		node.Do("parse", map[string]any{"raw": base64.StdEncoding.EncodeToString(f.compose(t).Raw)}, &got)
		if _, err := time.Parse(time.RFC3339, got.Date); err != nil {
			t.Errorf("%s: the date: %v", name, err)
		}
		if diff := cmp.Diff(f.shown(), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
