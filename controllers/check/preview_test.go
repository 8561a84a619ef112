package check_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/controllers/check"
	"github.com/cartero-mail/cartero/internal/manifest"
)

func make1(tb testing.TB, set *manifest.Set, whom check.Whom) *check.Preview {
	tb.Helper()
	preview, err := check.Make(tb.Context(), set, opts(tb), whom)
	if err != nil {
		tb.Fatal(err)
	}
	return preview
}

func TestPreview(t *testing.T) {
	t.Parallel()
	set := read(t, "testdata/lint/clean.yaml")
	preview := make1(t, set, check.Whom{Address: "Ada@Example.org"})
	golden(t, "testdata/preview/ada.eml", preview.Raw)
	parts, err := preview.Parts()
	if err != nil {
		t.Fatal(err)
	}
	var terminal bytes.Buffer
	if err := parts.WriteTerminal(&terminal); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/preview/ada.txt", terminal.Bytes())
	golden(t, "testdata/preview/ada.html", []byte(parts.Page()))

	byLine := make1(t, set, check.Whom{Line: 2})
	if !bytes.Equal(byLine.Raw, preview.Raw) {
		t.Error("line 2 and its address are two mails")
	}
	second := make1(t, set, check.Whom{Line: 3})
	if !bytes.Contains(second.Raw, []byte("Subject: News from Oslo\r\n")) || !bytes.Contains(second.Raw, []byte("Dear friend,")) {
		t.Errorf("line 3:\n%s", second.Raw)
	}
}

// TestPreviewWithoutList has each variable stand for itself.
func TestPreviewWithoutList(t *testing.T) {
	t.Parallel()
	begin, _, _ := strings.Cut(small, "    inline:")
	preview := make1(t, parse(t, begin+"    secretKeyRef: {name: readers, key: list.csv}\n"), check.Whom{})
	if !preview.Sample || !bytes.Contains(preview.Raw, []byte("Subject: News for city\r\n")) {
		t.Errorf("sample %t:\n%s", preview.Sample, preview.Raw)
	}
}

func TestPreviewRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		text string
		whom check.Whom
		is   error
		want string
	}{
		{"campaign", small, check.Whom{Campaign: "other"}, check.ErrNoSuchCampaign, "there is only news"},
		{"no campaign", "kind: Pod\n", check.Whom{}, check.ErrNoSuchCampaign, ""},
		{"campaigns", small + "---\n" + small, check.Whom{}, check.ErrWhichCampaign, "news, news"},
		{"recipient", small, check.Whom{Address: "eve@example.org"}, check.ErrNoSuchRecipient, ""},
		{"no address", small, check.Whom{Address: "eve"}, nil, "--recipient: invalid address: it has no @"},
		{"nobody", strings.NewReplacer("ada@example.org", "ada@", "bob@example.org", "bob").Replace(small), check.Whom{}, check.ErrNobody, ""},
		{"line", small, check.Whom{Line: 9}, check.ErrNoSuchRecipient, ""},
		{"variable", small, check.Whom{Line: 2}, nil, "-:9:23: spec.message.subject: the variable \"city\" is missing"},
		{"schema", strings.Replace(small, "subject", "subjekt", 1), check.Whom{}, nil, "-:6:3: spec.message.subject: is required"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := check.Make(t.Context(), parse(t, test.text), opts(t), test.whom)
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("error %v, want %v", err, test.is)
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %s", err, test.want)
			}
		})
	}
}

// TestTerminal keeps what could steer a terminal out of it.
func TestTerminal(t *testing.T) {
	t.Parallel()
	parts := check.Parts{Fields: [][2]string{{"Subject", "\x1b]0;title\a"}}, Text: "a\x1b[2Jb\n", Files: []check.File{{Name: "x\r"}}}
	var out bytes.Buffer
	if err := parts.WriteTerminal(&out); err != nil {
		t.Fatal(err)
	}
	want := "Subject: \ufffd]0;title\ufffd\n\na\ufffd[2Jb\n\nAttachment: x\ufffd (, 0 bytes)\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("terminal (-want +got):\n%s", diff)
	}
}
