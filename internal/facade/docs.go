package facade

import (
	"crypto/sha256"
	_ "embed" // the page
	"encoding/base64"
	"fmt"
	"strings"
)

// docsPage shows the description: one file, which loads nothing but openapi.json.
//
//go:embed docs.html
var docsPage string

// docsPolicy is the Content-Security-Policy of the page: its own style and script by their sums, and nothing else.
func docsPolicy() string {
	return fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; connect-src 'self'; img-src data:; "+
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'", inlineSum("style"), inlineSum("script"))
}

// inlineSum is the source expression of the page's one element of this name (CSP Level 3, section 2.3.1).
func inlineSum(element string) string {
	_, rest, _ := strings.Cut(docsPage, "<"+element+">")
	text, _, _ := strings.Cut(rest, "</"+element+">")
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
