// Package domains reads limits of groups of recipient domains, and finds the group that an address belongs to.
package domains

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of what a group may say.
const (
	MaxMessages    = 1_000_000
	MaxPeriod      = 24 * time.Hour
	MaxConnections = 1000
	maxDomain      = 253 // RFC 1035 section 2.3.4, without the final dot
	maxLabel       = 63
)

// Group is the limit that some recipient domains share.
type Group struct {
	// Domains are in lower case and as A-labels: example.com, *.example.com for what is below it, or * for all that no group
	// names.
	Domains []string
	// Messages in each Period is the rate of the group, of which Burst, at least 1, may go at once after a quiet time; 0 for
	// no rate.
	Messages int
	Period   time.Duration
	Burst    int
	// Connections is how many mails of one process are on their way to the group at once; 0 for as many as there are
	// connections.
	Connections int
}

// Name tells the group from others: its domains, sorted.
func (g Group) Name() string {
	sorted := slices.Sorted(slices.Values(g.Domains))
	return strings.Join(sorted, ",")
}

// Parse reads groups, separated by semicolons, each DOMAIN[,DOMAIN…]=LIMIT[,LIMIT…]. A limit is a rate such as 600/1m or
// 20/1s, burst=20, or connections=5. An empty text has no group. Errors name the part that is wrong.
func Parse(text string) ([]Group, error) {
	var groups []Group
	var problems []error
	seen := map[string]bool{}
	for part := range strings.SplitSeq(text, ";") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		group, err := parseGroup(part)
		if err != nil {
			problems = append(problems, fmt.Errorf("%q %w", part, err))
			continue
		}
		for _, domain := range group.Domains {
			if seen[domain] {
				problems = append(problems, fmt.Errorf("%q names %s, which is in a group already", part, domain))
			}
			seen[domain] = true
		}
		groups = append(groups, group)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return groups, nil
}

func parseGroup(text string) (Group, error) {
	names, limits, ok := strings.Cut(text, "=")
	if !ok {
		return Group{}, errors.New("has no =: write gmail.com,googlemail.com=600/1m")
	}
	var group Group
	for name := range strings.SplitSeq(names, ",") {
		domain, err := parseDomain(strings.TrimSpace(name))
		if err != nil {
			return Group{}, err
		}
		group.Domains = append(group.Domains, domain)
	}
	for limit := range strings.SplitSeq(limits, ",") {
		if err := group.parseLimit(strings.TrimSpace(limit)); err != nil {
			return Group{}, err
		}
	}
	switch {
	case group.Messages == 0 && group.Connections == 0:
		return Group{}, errors.New("has neither a rate such as 600/1m nor connections=5")
	case group.Messages == 0 && group.Burst > 0:
		return Group{}, errors.New("has a burst and no rate")
	case group.Burst > group.Messages:
		return Group{}, fmt.Errorf("has a burst that is larger than %d, the mails of a period", group.Messages)
	case group.Messages > 0:
		group.Burst = max(group.Burst, 1)
	}
	return group, nil
}

func parseDomain(name string) (string, error) {
	domain := strings.ToLower(strings.TrimSuffix(name, "."))
	if domain == "*" {
		return domain, nil
	}
	plain := strings.TrimPrefix(domain, "*.")
	if plain == "" || len(plain) > maxDomain {
		return "", fmt.Errorf("has no domain in %q", name)
	}
	for label := range strings.SplitSeq(plain, ".") {
		wrong := strings.ContainsFunc(label, func(r rune) bool {
			return r != '-' && r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9')
		})
		if label == "" || len(label) > maxLabel || wrong {
			return "", fmt.Errorf("has %q, which is no domain: write example.com, *.example.com or *, and others than ASCII as "+
				"A-labels, such as xn--bcher-kva.example", name)
		}
	}
	return domain, nil
}

func (g *Group) parseLimit(text string) error {
	name, value, named := strings.Cut(text, "=")
	switch {
	case !named:
		return g.parseRate(text)
	case name == "burst" && g.Burst == 0:
		return parseNumber(value, MaxMessages, text, &g.Burst)
	case name == "connections" && g.Connections == 0:
		return parseNumber(value, MaxConnections, text, &g.Connections)
	default:
		return fmt.Errorf("has %q: a limit is a rate such as 600/1m, burst=20 or connections=5, each once", text)
	}
}

func (g *Group) parseRate(text string) error {
	messages, period, ok := strings.Cut(text, "/")
	if !ok || g.Messages > 0 {
		return fmt.Errorf("has %q: a limit is a rate such as 600/1m, burst=20 or connections=5, each once", text)
	}
	if err := parseNumber(messages, MaxMessages, text, &g.Messages); err != nil {
		return err
	}
	if period != "" && (period[0] < '0' || period[0] > '9') {
		period = "1" + period // 20/s
	}
	d, err := time.ParseDuration(period)
	if err != nil || d < time.Second || d > MaxPeriod {
		return fmt.Errorf("has %q: the period must be from 1s to %s, such as 600/1m", text, "24h")
	}
	g.Period = d
	return nil
}

func parseNumber(text string, most int, part string, to *int) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return fmt.Errorf("has %q: the number must be from 1 to %d", part, most)
	}
	*to = n
	return nil
}

// Matcher finds groups.
type Matcher struct {
	exact, below map[string]int
	rest         int
}

// NewMatcher returns a Matcher of these groups.
func NewMatcher(groups []Group) *Matcher {
	m := &Matcher{exact: map[string]int{}, below: map[string]int{}, rest: -1}
	for i, group := range groups {
		for _, domain := range group.Domains {
			parent, isBelow := strings.CutPrefix(domain, "*.")
			switch {
			case domain == "*":
				m.rest = i
			case isBelow:
				m.below[parent] = i
			default:
				m.exact[domain] = i
			}
		}
	}
	return m
}

// Match returns the index of the group that the address belongs to; -1 for none. The domain itself goes before the
// narrowest group of what is below a domain, and that before *.
func (m *Matcher) Match(address string) int {
	domain := strings.ToLower(strings.TrimSuffix(address[strings.LastIndexByte(address, '@')+1:], "."))
	if i, ok := m.exact[domain]; ok {
		return i
	}
	if len(m.below) > 0 {
		for at := strings.IndexByte(domain, '.'); at >= 0; at = strings.IndexByte(domain, '.') {
			domain = domain[at+1:]
			if i, ok := m.below[domain]; ok {
				return i
			}
		}
	}
	return m.rest
}
