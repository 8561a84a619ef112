package samples

import (
	"bytes"
	"fmt"
	"strings"

	"golang.org/x/net/idna"
)

// rows is the number of entries of the list.
const rows = 1000

type row struct{ email, name, city, plan string }

// List makes the list: always the same bytes. It is CSV as a spreadsheet saves it, with a byte order mark and CRLF.
func List() []byte {
	var b bytes.Buffer
	b.WriteString("\ufeffemail,name,city,plan\r\n")
	people := make([]row, 0, rows)
	for i := range rows {
		r := person(i)
		switch {
		case i%80 == 52 && i/80 < len(invalidAddresses):
			r.email = invalidAddresses[i/80]
		case i%120 == 97 && i/120 < len(refusedAddresses):
			r.email = refusedAddresses[i/120]
		case i%38 == 37 && i/38 < 25:
			r = respelled(people[i-31], i/38)
		}
		people = append(people, r)
		fmt.Fprintf(&b, "%s,%s,%s,%s\r\n", quoted(r.email), quoted(r.name), quoted(r.city), quoted(r.plan))
	}
	return b.Bytes()
}

// person makes the person of row i. Their address has the number in it: no two are alike by chance.
func person(i int) row {
	at := 0 // half of the people have Latin names, the others one of the other scripts
	switch {
	case i%4 == 1:
		at = 1
	case i%2 == 0:
		at = 2 + i/2%(len(regions)-2)
	}
	reg := regions[at]
	n := i / 4
	if at > 1 {
		n = i / 18 // how many of this region came before
	}
	first, last := reg.first[n%len(reg.first)], reg.last[(n/2+i)%len(reg.last)]
	r := row{
		email: fmt.Sprintf("%s.%s%d@%s", first.ascii, last.ascii, i, reg.domains[n%len(reg.domains)]),
		name:  first.name + " " + last.name,
		city:  reg.cities[(n+i)%len(reg.cities)],
		plan:  plans[i*7%len(plans)],
	}
	switch {
	case reg.joint:
		r.name = last.name + first.name
	case reg.familyFirst:
		r.name = last.name + " " + first.name
	case i%40 == 3:
		r.name = last.name + ", " + first.name
	case i%50 == 9:
		r.name = first.name + ` "` + strings.ToUpper(first.ascii[:2]) + `" ` + last.name
	}
	switch {
	case i%90 == 31:
		r.city += "\r\n(centro)"
	case i%110 == 5:
		r.name = strings.Replace(r.name, " ", "\r\n", 1)
	case i%60 == 11:
		r.email = strings.ToUpper(r.email[:1]) + r.email[1:]
	}
	return r
}

// respelled is the same person again, entered another way.
func respelled(r row, n int) row {
	local, domain, _ := strings.Cut(r.email, "@")
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil { // our own domains
		panic(err)
	}
	switch n % 5 {
	case 0:
		r.email = strings.ToUpper(local) + "@" + domain
	case 1:
		r.email = "  " + local + "@" + strings.ToUpper(ascii) + " "
	case 2:
		r.email = strings.ToUpper(local[:1]) + local[1:] + "@" + ascii
	case 3:
		r.email = local + "@" + strings.ToUpper(domain)
	}
	r.plan = plans[n%len(plans)]
	return r
}

// quoted writes a field as RFC 4180 asks, and quotes what begins or ends with a space too.
func quoted(field string) string {
	if !strings.ContainsAny(field, "\",\r\n") && strings.TrimSpace(field) == field {
		return field
	}
	return `"` + strings.ReplaceAll(field, `"`, `""`) + `"`
}
