package manifest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// isKustomization reports whether a file is kustomize's, by its name.
func isKustomization(path string) bool {
	return slices.Contains([]string{"kustomization.yaml", "kustomization.yml", "Kustomization"}, filepath.Base(path))
}

// generate adds what the configMapGenerator and the secretGenerator of a kustomization make of files and literals.
func (s *Set) generate(d *Document) {
	for field, kind := range map[string]string{"configMapGenerator": KindConfigMap, "secretGenerator": KindSecret} {
		generators, _ := d.Object[field].([]any)
		for i, entry := range generators {
			generator, ok := entry.(map[string]any)
			if !ok {
				continue
			}
			path := fmt.Sprintf("%s[%d]", field, i)
			b := newBundle(kind, text(generator, "namespace"), text(generator, "name"), d.Position(path))
			if b.Namespace == "" {
				b.Namespace = text(d.Object, "namespace")
			}
			s.generateFrom(d, path, generator, b)
			s.Bundles = append(s.Bundles, b)
		}
	}
}

func text(from map[string]any, name string) string {
	value, _ := from[name].(string)
	return value
}

func (s *Set) generateFrom(d *Document, path string, generator map[string]any, b *Bundle) {
	each := func(field string, do func(at, entry string) error) {
		entries, _ := generator[field].([]any)
		for i, value := range entries {
			at := fmt.Sprintf("%s.%s[%d]", path, field, i)
			entry, _ := value.(string)
			if err := do(at, entry); err != nil {
				s.Problems = append(s.Problems, &Error{d.Position(at), at + ": " + err.Error()})
			}
		}
	}
	each("literals", func(at, entry string) error {
		key, value, found := strings.Cut(entry, "=")
		if !found {
			return fmt.Errorf("is not of the form key=value")
		}
		b.Data[key], b.Sources[key] = []byte(strings.Trim(value, `"'`)), Source{document: d, path: at, encoded: true}
		return nil
	})
	each("files", func(_, entry string) error {
		key, name, found := strings.Cut(entry, "=")
		if !found {
			key, name = filepath.Base(entry), entry
		}
		if !filepath.IsLocal(name) || d.File == "-" {
			return fmt.Errorf("is not a file below the kustomization: kustomize does not read it either")
		}
		name = filepath.Join(filepath.Dir(d.File), name)
		data, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("the file can't be read")
		}
		b.Data[key], b.Sources[key] = data, Source{File: name}
		return nil
	})
}
