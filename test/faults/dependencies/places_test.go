package dependencies

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cartero-mail/cartero/test/faults/proxy/mysql"
	"github.com/cartero-mail/cartero/test/faults/proxy/redis"
)

// place is the n-th request, from 0, of a kind that a call makes. Kinds are texts without their values.
type place struct {
	kind string
	n    int
}

// places notes what passes a proxy, in order.
type places struct {
	mu    sync.Mutex
	seen  map[string]int
	order []place
}

func (p *places) note(kind string) {
	if kind == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		p.seen = map[string]int{}
	}
	p.order = append(p.order, place{kind, p.seen[kind]})
	p.seen[kind]++
}

func (p *places) all() []place {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.order
}

// trap springs at a place. From then on everything else is away, if it is said to be so.
type trap struct {
	place

	mu     sync.Mutex
	passed int
	sprung atomic.Bool
}

// at reports whether this request is the one.
func (t *trap) at(kind string) bool {
	if kind != t.kind {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.passed++
	return t.passed == t.n+1 && t.sprung.CompareAndSwap(false, true)
}

var (
	texts   = regexp.MustCompile(`_binary'(?:[^'\\]|\\.|'')*'|'(?:[^'\\]|\\.|'')*'`)
	numbers = regexp.MustCompile(`\b\d+(\.\d+)?\b`)
	lists   = regexp.MustCompile(`(\([?NULa-z_, ]*\))(,\s*\([?NULa-z_, ]*\))+`)
)

// statementKind is a statement without its values; of a commit, with the writes of its transaction. It is empty for what sets up
// a session, and for what is none.
func statementKind(r mysql.Request) string {
	text := bare(r.Text)
	switch {
	case r.Kind != mysql.Query && r.Kind != mysql.Execute, strings.HasPrefix(text, "SET "):
		return ""
	case isCommit(r):
		for _, statement := range r.Transaction {
			if !strings.HasPrefix(statement, "SELECT") {
				text += ", " + bare(statement)
			}
		}
	}
	return text
}

func isCommit(r mysql.Request) bool { return strings.EqualFold(r.Text, "COMMIT") }

func bare(statement string) string {
	statement = numbers.ReplaceAllString(texts.ReplaceAllString(statement, "?"), "?")
	return lists.ReplaceAllString(statement, "$1…")
}

// commandKind is a command with the script that it runs.
func commandKind(r redis.Request) string {
	if !redis.Asks(r) {
		return ""
	}
	if strings.HasPrefix(r.Name, "EVAL") && len(r.Args) > 0 {
		return fmt.Sprintf("%s %.40s", r.Name, r.Args[0])
	}
	return r.Name
}
