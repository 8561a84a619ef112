// Command api-reference writes docs/api-reference.md: the fields, from the CRD, and the annotations, conditions and events,
// from the constants of the API package. `make generate` runs it.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	crd := flag.String("crd", "config/crd/bases/mail.cartero.dev_emailcampaigns.yaml", "the CRD")
	api := flag.String("api", "api/v1alpha1", "the directory of the API package")
	out := flag.String("out", "docs/api-reference.md", "the page")
	flag.Parse()
	if err := run(*crd, *api, *out); err != nil {
		fmt.Fprintln(os.Stderr, "api-reference:", err)
		os.Exit(1)
	}
}

func run(crd, api, out string) error {
	page, err := reference(crd, api)
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, page, 0o644); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

// reference makes the page.
func reference(crd, api string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Clean(crd))
	if err != nil {
		return nil, fmt.Errorf("reading the CRD: %w", err)
	}
	kind, err := readKind(text)
	if err != nil {
		return nil, err
	}
	words, err := readVocabulary(api)
	if err != nil {
		return nil, err
	}
	return append(kind.page(), words.page()...), nil
}
