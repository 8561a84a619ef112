package ledger

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/cartero-mail/cartero/internal/mail/smtp/smtptest"
)

// forever is the count of an action that is never used up.
const forever = -1

// octetPause is the time between two octets of a slow reply.
const octetPause = 20 * time.Millisecond

// action is one step at which the relay is not friendly.
type action struct {
	step     smtptest.Step
	reaction smtptest.Reaction
	// left is how often it is used yet, or forever.
	left int
}

// script is what is left of the actions, in order.
type script []action

// take returns the reaction of the first action, if it is for this step, and counts it.
func (s *script) take(step smtptest.Step) *smtptest.Reaction {
	if len(*s) == 0 || (*s)[0].step != step {
		return nil
	}
	first := &(*s)[0]
	reaction := first.reaction
	if first.left != forever {
		first.left--
	}
	if first.left == 0 {
		*s = (*s)[1:]
	}
	return &reaction
}

// named are the actions that are words.
var named = map[string]action{
	"drop":          {smtptest.RCPT, smtptest.Reaction{Silent: true, Then: smtptest.Close}, 1},
	"dropdata":      {smtptest.DATA, smtptest.Reaction{Silent: true, Then: smtptest.Close}, 1},
	"dropbeforedot": {smtptest.Body, smtptest.Reaction{Silent: true, Then: smtptest.Reset}, 1},
	"dropafterdot":  {smtptest.Dot, smtptest.Reaction{Silent: true, Accept: true, Then: smtptest.Close}, 1},
	"lostafterdot":  {smtptest.Dot, smtptest.Reaction{Silent: true, Refuse: true, Then: smtptest.Close}, 1},
	"garbage":       {smtptest.Dot, smtptest.Reaction{Raw: "this is no reply\r\n", Accept: true}, 1},
	"half":          {smtptest.Dot, smtptest.Reaction{Raw: "25", Accept: true, Then: smtptest.Close}, 1},
	"slow":          {smtptest.Dot, smtptest.Reaction{Reply: "250 2.0.0 queued", OneByte: octetPause}, forever},
	"250drop":       {smtptest.Dot, smtptest.Reaction{Reply: "250 2.0.0 queued", Then: smtptest.Close}, 1},
}

// steps are the suffixes of codes.
var steps = map[string]smtptest.Step{
	"": smtptest.RCPT, "data": smtptest.DATA, "dot": smtptest.Dot,
	"connect": smtptest.Connect, "mail": smtptest.MAIL,
}

// texts follow the codes: with the enhanced code that makes clients take the refusal for what it is meant to be.
var texts = map[string]string{
	"421": "4.3.2 closing", "450": "4.2.0 busy", "451": "4.3.0 try again later", "452": "4.3.1 no room",
	"550": "5.1.1 no such mailbox", "552": "5.3.4 too large", "554": "5.7.1 refused",
}

var (
	actionForm = regexp.MustCompile(`^(.*?)(?:x([0-9]{1,4}))?$`)
	codeForm   = regexp.MustCompile(`^([45][0-9][0-9])(data|dot|connect|mail)?$`)
)

// errNoAction tells that a word is none of the actions.
var errNoAction = errors.New("is no action")

// parseScript reads actions that are separated by dots.
func parseScript(text string) (script, error) {
	var all script
	for word := range strings.SplitSeq(strings.ToLower(text), ".") {
		a, err := parseAction(word)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

func parseAction(word string) (action, error) {
	parts := actionForm.FindStringSubmatch(word)
	a, ok := named[parts[1]]
	if code := codeForm.FindStringSubmatch(parts[1]); code != nil {
		a, ok = refusal(code[1], steps[code[2]]), true
	}
	if !ok {
		return action{}, fmt.Errorf("%q %w", word, errNoAction)
	}
	if parts[2] != "" {
		a.left, _ = strconv.Atoi(parts[2]) // at most four digits
		if a.left == 0 {
			a.left = forever
		}
	}
	return a, nil
}

// refusal is a reply with a code: a 4yz once, a 5yz for ever.
func refusal(code string, step smtptest.Step) action {
	text := texts[code]
	if text == "" {
		text = code[:1] + ".0.0 refused"
	}
	a := action{step: step, reaction: smtptest.Reaction{Reply: code + " " + text}, left: 1}
	if code[0] == '5' {
		a.left = forever
	}
	if code == "421" || step == smtptest.Connect {
		a.reaction.Then = smtptest.Close
	}
	return a
}

// scriptOf is what an address says; nil for a friendly one.
func scriptOf(address string) script {
	local, _, _ := strings.Cut(address, "@")
	text, _, found := strings.Cut(local, "+")
	if !found {
		return nil
	}
	s, err := parseScript(text)
	if err != nil {
		return nil
	}
	for _, a := range s {
		if a.step == smtptest.Connect || a.step == smtptest.MAIL { // nobody knows the recipient then
			return nil
		}
	}
	return s
}
