// Package unsubscribe makes the URLs at which recipients unsubscribe with one click (RFC 8058), and reads them again.
//
// A URL ends with a token: the recipient's id, encrypted, and a message authentication code. Without the key nobody can
// make one, and nobody learns from one who the recipient is. Tokens do not expire, and need no row of their own.
package unsubscribe

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"net/url"
	"strings"
	"sync"

	"github.com/google/uuid"
)

const (
	// MinKey is the least length of a key, in bytes.
	MinKey = 32
	// MaxBase is the greatest length of the base of the URLs, in bytes: the header field holds the URL in one line.
	MaxBase = 255
	// TokenLength is the length of every token, in characters of the URL-safe base64 alphabet (RFC 4648 section 5).
	TokenLength = 43

	idSize  = 16
	macSize = 16 // bytes of the code that are kept: 128 bits
)

// ErrInvalid means that a text is no token that was made with one of the keys. It does not say why.
var ErrInvalid = errors.New("the unsubscribe token is not valid")

// Links makes and reads the URLs. It is safe for concurrent use.
type Links struct {
	base string
	keys []key // the first one makes tokens, all of them read
}

// New returns Links whose URLs are base followed by a token, made with key; tokens made with one of the old keys are read
// too. Without a base they can only be read. It fails as CheckBase does, and if a key has less than MinKey bytes; no error
// holds a key.
func New(base string, current []byte, old ...[]byte) (*Links, error) {
	if base != "" {
		if err := CheckBase(base); err != nil {
			return nil, err
		}
		base = strings.TrimSuffix(base, "/") + "/"
	}
	l := &Links{base: base}
	for i, secret := range append([][]byte{current}, old...) {
		if len(secret) < MinKey {
			return nil, fmt.Errorf("unsubscribe: key number %d has %d bytes, want at least %d", i+1, len(secret), MinKey)
		}
		k, err := newKey(secret)
		if err != nil {
			return nil, fmt.Errorf("unsubscribe: key number %d: %w", i+1, err)
		}
		l.keys = append(l.keys, k)
	}
	return l, nil
}

// CheckBase reports why a text can't be the base of the URLs: RFC 8058 section 3.1 wants https, and a token has to fit
// behind it.
func CheckBase(base string) error {
	parsed, err := url.Parse(base)
	switch {
	case err != nil || parsed.Scheme != "https" || parsed.Hostname() == "" || parsed.Opaque != "":
		return errors.New("must be an https URL such as https://mail.example.com/unsubscribe/")
	case parsed.User != nil || parsed.RawQuery != "" || parsed.ForceQuery || strings.Contains(base, "#"):
		return errors.New("must have no user, no query and no fragment: a token is written behind it")
	case len(base) > MaxBase:
		return fmt.Errorf("must have at most %d characters: mails hold it in one line", MaxBase)
	case strings.ContainsFunc(base, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`<>",`, r) }):
		return errors.New("must be ASCII without blanks, commas and angle brackets: percent-encode what is none, and write the host as an A-label")
	}
	return nil
}

// URL is where the recipient with this id, a UUID, unsubscribes. It is always the same under the same key. It is empty for
// an id that is no UUID, which none of Cartero's own recipients has, and for Links that are nil or have no base.
func (l *Links) URL(recipientID string) string {
	if l == nil || l.base == "" {
		return ""
	}
	id, err := uuid.Parse(recipientID)
	if err != nil {
		return ""
	}
	token := l.keys[0].seal(id)
	text := make([]byte, len(l.base), len(l.base)+TokenLength)
	copy(text, l.base)
	return string(base64.RawURLEncoding.AppendEncode(text, token[:]))
}

// Parse returns the id of the recipient whom the token is for, or ErrInvalid. Codes are compared in constant time.
func (l *Links) Parse(token string) (recipientID string, err error) {
	if len(token) != TokenLength {
		return "", ErrInvalid
	}
	var sealed [idSize + macSize]byte
	// Strict, so that a token has one spelling; the decoder skips line breaks, which then leave it too short.
	n, err := base64.RawURLEncoding.Strict().Decode(sealed[:], []byte(token))
	if err != nil || n != len(sealed) {
		return "", ErrInvalid
	}
	for i := range l.keys {
		if id, ok := l.keys[i].open(sealed); ok {
			return id.String(), nil
		}
	}
	return "", ErrInvalid
}

// key is what is derived from one secret.
type key struct {
	block cipher.Block
	macs  *sync.Pool // of hash.Hash
}

func newKey(secret []byte) (key, error) {
	block, err := aes.NewCipher(derive(secret, "id"))
	if err != nil {
		return key{}, err
	}
	authentic := derive(secret, "mac")
	return key{block, &sync.Pool{New: func() any { return hmac.New(sha256.New, authentic) }}}, nil
}

// derive makes a key for one purpose out of the secret.
func derive(secret []byte, purpose string) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("cartero unsubscribe 1 " + purpose))
	return mac.Sum(nil)
}

// seal encrypts one block, which is the id, and signs what it came to.
func (k key) seal(id uuid.UUID) (sealed [idSize + macSize]byte) {
	k.block.Encrypt(sealed[:idSize], id[:])
	code := k.mac(sealed[:idSize])
	copy(sealed[idSize:], code[:macSize])
	return sealed
}

func (k key) open(sealed [idSize + macSize]byte) (id uuid.UUID, ok bool) {
	code := k.mac(sealed[:idSize])
	if !hmac.Equal(code[:macSize], sealed[idSize:]) {
		return id, false
	}
	k.block.Decrypt(id[:], sealed[:idSize])
	return id, true
}

func (k key) mac(text []byte) (code [sha256.Size]byte) {
	mac := k.macs.Get().(hash.Hash) //nolint:forcetypeassert,errcheck // nothing else is put in
	defer k.macs.Put(mac)
	mac.Reset()
	mac.Write(text)
	mac.Sum(code[:0])
	return code
}
