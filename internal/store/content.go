package store

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// storedContent is the JSON in the column content: that of a campaign.Content. Where a submission's html or text is in its
// job's body already, there is true instead of it, so that it is written once; a reader that expects a text there fails.
type storedContent struct {
	campaign.Content
	// They hide those of the content.
	Text storedText `json:"text,omitzero"`
	HTML storedText `json:"html,omitzero"`
}

// storedText is a text, or the mark that the job's body is it.
type storedText struct {
	text  string
	inJob bool
}

// MarshalJSON implements json.Marshaler.
func (t storedText) MarshalJSON() ([]byte, error) {
	if t.inJob {
		return []byte("true"), nil
	}
	return json.Marshal(t.text)
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *storedText) UnmarshalJSON(text []byte) error {
	if string(text) == "true" {
		t.inJob = true
		return nil
	}
	return json.Unmarshal(text, &t.text)
}

// in is the text, where body is that of the job.
func (t storedText) in(body string) string {
	if t.inJob {
		return body
	}
	return t.text
}

// submittedContent is the content's hash, and what the column holds of it beside a job whose body is its LegacyBody.
func submittedContent(content campaign.Content) (hash, column string, err error) {
	whole, err := json.Marshal(content)
	if err != nil {
		return "", "", err
	}
	sum := sha256.Sum256(whole)
	stored := storedContent{Content: content, Text: storedText{text: content.Text}, HTML: storedText{text: content.HTML}}
	switch {
	case content.HTML != "":
		stored.HTML = storedText{inJob: true}
	case content.Text != "":
		stored.Text = storedText{inJob: true}
	}
	text, err := json.Marshal(stored)
	return hex.EncodeToString(sum[:]), string(text), err
}

// content is the campaign's, read by a job with this body.
func (r campaignRow) content(body string) (campaign.Content, error) {
	var stored storedContent
	if err := json.Unmarshal([]byte(r.Content), &stored); err != nil {
		return campaign.Content{}, fmt.Errorf("reading the content of the campaign: %w", err)
	}
	content := stored.Content
	content.Text, content.HTML = stored.Text.in(body), stored.HTML.in(body)
	return content, nil
}
