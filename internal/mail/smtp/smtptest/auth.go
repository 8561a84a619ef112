package smtptest

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"hash"
	"strings"
)

// auth performs one AUTH exchange (RFC 4954).
func (x *session) auth(argument string) error {
	if r := x.server.reaction(AUTH, ""); r != nil {
		return x.perform(r, "235 2.7.0 ok", func() { x.authenticated = true })
	}
	mechanism, initial, _ := strings.Cut(argument, " ")
	var ok bool
	var err error
	switch strings.ToUpper(mechanism) {
	case "PLAIN":
		ok, err = x.plain(initial)
	case "LOGIN":
		ok, err = x.login()
	case "CRAM-MD5":
		ok, err = x.cramMD5()
	case "SCRAM-SHA-256":
		ok, err = x.scram(initial, sha256.New, false)
	case "SCRAM-SHA-256-PLUS":
		ok, err = x.scram(initial, sha256.New, true)
	case "SCRAM-SHA-1":
		ok, err = x.scram(initial, sha1.New, false)
	case "SCRAM-SHA-1-PLUS":
		ok, err = x.scram(initial, sha1.New, true)
	case "XOAUTH2":
		ok, err = x.xoauth2(initial)
	default:
		return x.reply("504 5.5.4 unknown mechanism")
	}
	if err != nil {
		return err
	}
	if !ok {
		return x.reply("535 5.7.8 credentials of " + x.server.script.Username + " refused")
	}
	x.authenticated = true
	return x.reply("235 2.7.0 ok")
}

// challenge sends a challenge and returns the response, both decoded.
func (x *session) challenge(text string) (string, error) {
	if err := x.reply("334 " + base64.StdEncoding.EncodeToString([]byte(text))); err != nil {
		return "", err
	}
	line, err := x.line(12288, "AUTH")
	if err != nil {
		return "", err
	}
	return decode(string(line)), nil
}

func decode(text string) string {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return ""
	}
	return string(raw)
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func (x *session) plain(initial string) (bool, error) {
	response := decode(initial)
	if initial == "" {
		var err error
		if response, err = x.challenge(""); err != nil {
			return false, err
		}
	}
	return same(response, "\x00"+x.server.script.Username+"\x00"+x.server.script.Password), nil
}

func (x *session) login() (bool, error) {
	username, err := x.challenge("Username:")
	if err != nil {
		return false, err
	}
	password, err := x.challenge("Password:")
	return same(username, x.server.script.Username) && same(password, x.server.script.Password), err
}

func (x *session) cramMD5() (bool, error) {
	const challenge = "<1896.697170952@smtptest>"
	response, err := x.challenge(challenge)
	if err != nil {
		return false, err
	}
	mac := hmac.New(md5.New, []byte(x.server.script.Password))
	mac.Write([]byte(challenge))
	return same(response, fmt.Sprintf("%s %x", x.server.script.Username, mac.Sum(nil))), nil
}

// xoauth2 takes the password as the token. A refusal is a challenge first, to which the client has nothing to say.
func (x *session) xoauth2(initial string) (bool, error) {
	if same(decode(initial), "user="+x.server.script.Username+"\x01auth=Bearer "+x.server.script.Password+"\x01\x01") {
		return true, nil
	}
	_, err := x.challenge(`{"status":"401"}`)
	return false, err
}

// binding is what the client has to prove that it talks over this very TLS session (RFC 9266).
func (x *session) binding() (string, error) {
	c, ok := x.conn.(*tls.Conn)
	if !ok {
		return "", errEnd
	}
	state := c.ConnectionState()
	exported, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	return string(exported), err
}

// scram is the server's side of SCRAM (RFC 5802, RFC 7677), bound to the TLS session if plus.
func (x *session) scram(initial string, newHash func() hash.Hash, plus bool) (bool, error) {
	const salt, iterations = "smtptest-salt", 4096
	first := decode(initial)
	if initial == "" {
		var err error
		if first, err = x.challenge(""); err != nil {
			return false, err
		}
	}
	header, bound := "n,,", ""
	if plus {
		var err error
		if bound, err = x.binding(); err != nil {
			return false, err
		}
		header = "p=tls-exporter,,"
	}
	bare := strings.TrimPrefix(first, header)
	_, nonce, _ := strings.Cut(bare, ",r=")
	nonce, _, _ = strings.Cut(nonce, ",")
	serverFirst := fmt.Sprintf("r=%ssmtptest,s=%s,i=%d", nonce, base64.StdEncoding.EncodeToString([]byte(salt)), iterations)
	final, err := x.challenge(serverFirst)
	if err != nil {
		return false, err
	}
	salted, err := pbkdf2.Key(newHash, x.server.script.Password, []byte(salt), iterations, newHash().Size())
	if err != nil {
		return false, err
	}
	withoutProof, proof, _ := strings.Cut(final, ",p=")
	message := bare + "," + serverFirst + "," + withoutProof
	clientKey := sign(newHash, salted, "Client Key")
	stored := newHash()
	stored.Write(clientKey)
	want := sign(newHash, stored.Sum(nil), message)
	for i := range want {
		want[i] ^= clientKey[i]
	}
	channel, _, _ := strings.Cut(strings.TrimPrefix(final, "c="), ",")
	if decode(channel) != header+bound {
		return false, nil
	}
	if !same(decode(proof), string(want)) || !strings.HasPrefix(bare, "n="+x.server.script.Username+",") {
		return false, nil
	}
	_, err = x.challenge("v=" + base64.StdEncoding.EncodeToString(sign(newHash, sign(newHash, salted, "Server Key"), message)))
	return true, err
}

func sign(newHash func() hash.Hash, key []byte, text string) []byte {
	mac := hmac.New(newHash, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
