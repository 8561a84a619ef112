package options

import (
	"errors"
	"strconv"
	"strings"

	"github.com/cartero-mail/cartero/internal/unsubscribe"
)

// Unsubscribe says where recipients unsubscribe, and with which key their links are made.
type Unsubscribe struct {
	// URL is the https base of the links, as recipients reach it; empty where unsubscribing is not managed.
	URL string
	// Key makes the links and reads them; OldKeys only read.
	Key     string
	OldKeys []string
	// URLOnly is set by commands that make and read no links, and need to know only whether there are any.
	URLOnly bool
}

const (
	unsubscribeURL     = "UNSUBSCRIBE_URL"
	unsubscribeKey     = "UNSUBSCRIBE_KEY"
	unsubscribeOldKeys = "UNSUBSCRIBE_OLD_KEYS"
)

// Bind implements Area.
func (o *Unsubscribe) Bind(b *Binder) {
	b.Area("Unsubscribing")
	b.String(&o.URL, Spec{
		Variable: unsubscribeURL,
		Meaning:  "https URL of the facade's /unsubscribe/ as recipients reach it, such as https://mail.example.com/unsubscribe/ (see docs/unsubscribe.md)",
	})
	if o.URLOnly {
		return
	}
	b.String(&o.Key, Spec{
		Variable: unsubscribeKey,
		Meaning:  "secret that the links are made with, at least 32 characters; the same for workers and facades",
	})
	b.List(&o.OldKeys, Spec{
		Variable: unsubscribeOldKeys,
		Meaning:  "former values of UNSUBSCRIBE_KEY, separated by commas: links made with them go on working",
	})
}

// Validate implements Area.
func (o *Unsubscribe) Validate() error {
	var problems []error
	if o.URL != "" {
		if err := unsubscribe.CheckBase(o.URL); err != nil {
			problems = append(problems, SettingError{unsubscribeURL, err.Error()})
		}
		if o.Key == "" && !o.URLOnly {
			problems = append(problems, SettingError{
				unsubscribeKey, "is required where UNSUBSCRIBE_URL is set; openssl rand -hex 32 makes a good one",
			})
		}
	}
	const accepted = "must be visible ASCII characters, at least "
	if o.Key != "" && !isUnsubscribeKey(o.Key) {
		problems = append(problems, SettingError{unsubscribeKey, accepted + strconv.Itoa(unsubscribe.MinKey)})
	}
	for _, key := range o.OldKeys {
		if !isUnsubscribeKey(key) {
			problems = append(problems, SettingError{unsubscribeOldKeys, accepted + strconv.Itoa(unsubscribe.MinKey) + " in each key"})
			break
		}
	}
	if len(o.OldKeys) > 0 && o.Key == "" {
		problems = append(problems, SettingError{unsubscribeOldKeys, "is for keys before UNSUBSCRIBE_KEY, which is not set"})
	}
	return errors.Join(problems...)
}

func isUnsubscribeKey(key string) bool {
	return len(key) >= unsubscribe.MinKey && !strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' })
}

// Links are made as the settings say; nil without a key.
func (o *Unsubscribe) Links() (*unsubscribe.Links, error) {
	if o.Key == "" {
		return nil, nil //nolint:nilnil // nil Links make no URLs
	}
	old := make([][]byte, len(o.OldKeys))
	for i, key := range o.OldKeys {
		old[i] = []byte(key)
	}
	return unsubscribe.New(o.URL, []byte(o.Key), old...)
}

func (o *Unsubscribe) secrets() []string {
	if o.Key == "" {
		return o.OldKeys
	}
	return append([]string{o.Key}, o.OldKeys...)
}
