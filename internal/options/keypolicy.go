package options

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// KeyPolicy is what the holders of some keys may do.
type KeyPolicy struct {
	Name string
	// Keys are the keys themselves, found by their ids.
	Keys []string
	// Requests is how many they may make together in each span Per; 0 for any number.
	Requests int
	Per      time.Duration
	// Senders are the domains that they may send from, in lower case: example.com, or *.example.com. None for any.
	Senders []string
}

const keyPolicyVariable = "API_KEY_POLICY"

// keyPolicyText is the JSON of one policy.
type keyPolicyText struct {
	Keys    *[]string `json:"keys"`
	Rate    *string   `json:"rate"`
	Senders *[]string `json:"senders"`
}

var (
	// A name is short, so that a key in its place is refused, not repeated.
	policyName   = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,29}[a-z0-9])?$`)
	keyID        = regexp.MustCompile(`^[0-9a-f]{8,64}$`)
	senderDomain = regexp.MustCompile(`^(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$`)
	rateText     = regexp.MustCompile(`^([1-9][0-9]{0,8})/([smh])$`)
	rateSpans    = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}
)

// parseKeyPolicies reads API_KEY_POLICY. Problems name the field, never a value.
func parseKeyPolicies(text string, keys []string) ([]KeyPolicy, error) {
	if text == "" {
		return nil, nil
	}
	policies, err := decodeKeyPolicies(text)
	if err != nil {
		return nil, err
	}
	var all []KeyPolicy
	var problems []error
	taken := map[string]bool{}
	rest := -1 // the policy of all keys that no other one names
	for _, name := range slices.Sorted(maps.Keys(policies)) {
		given := policies[name]
		refuse := func(field, message string) {
			problems = append(problems, SettingError{keyPolicyVariable, name + "." + field + ": " + message})
		}
		p := KeyPolicy{Name: name}
		switch {
		case given.Keys != nil:
			p.Keys = keysOf(*given.Keys, keys, taken, refuse)
		case rest >= 0:
			refuse("keys", "is required: another policy without it is that of all other keys already")
		default:
			rest = len(all)
		}
		p.setRate(given.Rate, refuse)
		p.setSenders(given.Senders, refuse)
		all = append(all, p)
	}
	if rest >= 0 {
		for _, key := range keys {
			if !taken[key] {
				all[rest].Keys = append(all[rest].Keys, key)
			}
		}
	}
	return all, errors.Join(problems...)
}

func decodeKeyPolicies(text string) (map[string]keyPolicyText, error) {
	form := func(reason string) error {
		return SettingError{keyPolicyVariable, reason + `; it reads {"name": {"keys": ["first 8 digits of the key's SHA-256"], ` +
			`"rate": "50/s", "senders": ["example.com"]}}, each of the three optional`}
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.DisallowUnknownFields()
	var policies map[string]keyPolicyText
	if err := decoder.Decode(&policies); err != nil {
		return nil, form("is no JSON of the right form")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, form("has something behind the JSON object")
	}
	for name := range policies {
		if !policyName.MatchString(name) {
			return nil, form("has a name that is not 1 to 31 lower-case letters, digits and dashes")
		}
	}
	return policies, nil
}

// keysOf finds keys by their ids.
func keysOf(ids, keys []string, taken map[string]bool, refuse func(field, message string)) []string {
	var found []string
	if len(ids) == 0 {
		refuse("keys", "must not be empty: leave it out for all keys that no other policy names")
	}
	for i, id := range ids {
		field := fmt.Sprintf("keys[%d]", i)
		if !keyID.MatchString(id) {
			refuse(field, "must be the first 8 or more hexadecimal digits of a key's SHA-256: printf %s KEY | sha256sum")
			continue
		}
		at := slices.IndexFunc(keys, func(key string) bool { return strings.HasPrefix(keyHash(key), id) })
		switch {
		case at < 0:
			refuse(field, "is the id of no key in API_KEY")
		case taken[keys[at]]:
			refuse(field, "is named twice")
		default:
			taken[keys[at]] = true
			found = append(found, keys[at])
		}
	}
	return found
}

func keyHash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

func (p *KeyPolicy) setRate(text *string, refuse func(field, message string)) {
	if text == nil {
		return
	}
	parts := rateText.FindStringSubmatch(*text)
	if parts == nil {
		refuse("rate", "must be a number of requests per s, m or h, such as 50/s or 1000/h")
		return
	}
	p.Requests, _ = strconv.Atoi(parts[1]) // at most nine digits
	p.Per = rateSpans[parts[2]]
}

func (p *KeyPolicy) setSenders(domains *[]string, refuse func(field, message string)) {
	if domains == nil {
		return
	}
	if len(*domains) == 0 {
		refuse("senders", "must not be empty: leave it out for any domain")
	}
	for i, domain := range *domains {
		domain = strings.ToLower(domain)
		if len(domain) > 253 || !senderDomain.MatchString(domain) {
			refuse(fmt.Sprintf("senders[%d]", i), "must be a domain in ASCII (A-labels), such as example.com, or *.example.com for all below it")
			continue
		}
		p.Senders = append(p.Senders, domain)
	}
}
