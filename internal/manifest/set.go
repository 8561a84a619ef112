package manifest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// MaxFile is the most bytes that are read of a manifest.
const MaxFile = 32 << 20

// The kinds that hold what campaigns refer to.
const (
	KindConfigMap = "ConfigMap"
	KindSecret    = "Secret"
)

// Source is where the bytes under a key of a ConfigMap or Secret are written.
type Source struct {
	// File is a file of their own; empty where they are in a document.
	File     string
	document *Document
	path     string
	encoded  bool // in base64: its lines are not those of the file
}

// At is where the line and column of the bytes are.
func (s Source) At(line, column int) Position {
	switch {
	case s.File != "":
		return Position{s.File, line, column}
	case s.encoded:
		return s.document.Position(s.path)
	default:
		return s.document.InText(s.path, line, column)
	}
}

// Bundle is a ConfigMap or Secret.
type Bundle struct {
	Kind, Namespace, Name string
	// Data is what it holds, by key, and Sources where that is written.
	Data    map[string][]byte
	Sources map[string]Source
	// Position is where it begins.
	Position Position
}

// Size is that of all its data, in bytes.
func (b *Bundle) Size() int {
	size := 0
	for key, data := range b.Data {
		size += len(key) + len(data)
	}
	return size
}

// Set is what some files declare. As a client.Reader it has their ConfigMaps and Secrets.
type Set struct {
	// Campaigns are the EmailCampaigns; Others are objects of kinds that mean nothing to campaigns.
	Campaigns []*Document
	Others    []*Document
	Bundles   []*Bundle
	// Problems are what can't be understood, each an *Error.
	Problems []error
}

// Group is the API group of EmailCampaign.
const Group = "mail.cartero.dev"

// Read reads files, directories with all that is below them, and standard input where a name is "-". It fails where one
// can't be read at all.
func Read(names []string, stdin io.Reader) (*Set, error) {
	set := &Set{}
	for _, name := range names {
		if name == "-" {
			if err := set.add("-", stdin); err != nil {
				return nil, err
			}
			continue
		}
		if err := filepath.WalkDir(name, func(path string, entry fs.DirEntry, err error) error {
			hidden := path != name && strings.HasPrefix(entry.Name(), ".")
			switch {
			case err != nil:
				return err
			case entry.IsDir() && hidden:
				return fs.SkipDir
			case entry.IsDir(), hidden, path != name && !isManifest(path):
				return nil
			}
			return set.addFile(path)
		}); err != nil {
			return nil, fmt.Errorf("reading manifests: %w", err)
		}
	}
	return set, nil
}

func isManifest(path string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(path)))
}

func (s *Set) addFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(s.add(path, file), file.Close())
}

func (s *Set) add(path string, in io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(in, MaxFile+1))
	if err != nil {
		return err
	}
	if len(text) > MaxFile {
		s.Problems = append(s.Problems, &Error{Position{File: path}, fmt.Sprintf("is larger than %d MiB: is it a manifest?", MaxFile>>20)})
		return nil
	}
	documents, problems := Parse(path, text)
	s.Problems = append(s.Problems, problems...)
	for _, document := range documents {
		s.sort(document)
	}
	return nil
}

func (s *Set) sort(d *Document) {
	group, _, _ := strings.Cut(d.APIVersion, "/")
	switch {
	case d.Kind == "EmailCampaign" && group == Group:
		s.Campaigns = append(s.Campaigns, d)
	case d.APIVersion == "v1" && (d.Kind == KindConfigMap || d.Kind == KindSecret):
		s.Bundles = append(s.Bundles, s.bundle(d))
	case strings.HasPrefix(group, "kustomize.") || d.Kind == "" && isKustomization(d.File):
		s.generate(d)
	default:
		s.Others = append(s.Others, d)
	}
}

// bundle reads a ConfigMap or Secret.
func (s *Set) bundle(d *Document) *Bundle {
	b := newBundle(d.Kind, d.Namespace, d.Name, d.Position(""))
	plain, encoded := "data", "binaryData"
	if d.Kind == KindSecret {
		plain, encoded = "stringData", "data"
	}
	for _, field := range []string{encoded, plain} { // stringData outranks data
		values, _ := d.Object[field].(map[string]any)
		for key, value := range values {
			path := field + "[" + key + "]"
			text, ok := value.(string)
			if !ok {
				s.Problems = append(s.Problems, &Error{d.Position(path), path + " must be a text: put it in quotes"})
				continue
			}
			data := []byte(text)
			if field == encoded {
				var err error
				if data, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), "")); err != nil {
					s.Problems = append(s.Problems, &Error{d.Position(path), path + " is not base64"})
					continue
				}
			}
			b.Data[key], b.Sources[key] = data, Source{document: d, path: path, encoded: field == encoded}
		}
	}
	return b
}

func newBundle(kind, namespace, name string, at Position) *Bundle {
	return &Bundle{Kind: kind, Namespace: namespace, Name: name, Data: map[string][]byte{}, Sources: map[string]Source{}, Position: at}
}

// Find returns a ConfigMap or Secret, or nil. One that says no namespace is in any.
func (s *Set) Find(kind, namespace, name string) *Bundle {
	i := slices.IndexFunc(s.Bundles, func(b *Bundle) bool {
		return b.Kind == kind && b.Name == name && (b.Namespace == namespace || b.Namespace == "" || namespace == "")
	})
	if i < 0 {
		return nil
	}
	return s.Bundles[i]
}

// Get implements client.Reader for ConfigMaps and Secrets.
func (s *Set) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	kind := KindConfigMap
	if _, isSecret := object.(*corev1.Secret); isSecret {
		kind = KindSecret
	}
	b := s.Find(kind, key.Namespace, key.Name)
	if b == nil {
		return apierrors.NewNotFound(schema.GroupResource{Resource: strings.ToLower(kind) + "s"}, key.Name)
	}
	switch object := object.(type) {
	case *corev1.Secret:
		object.Data = b.Data
	case *corev1.ConfigMap:
		object.BinaryData = b.Data
	default:
		return fmt.Errorf("files have no %T", object)
	}
	return nil
}

// List implements client.Reader. It fails: nobody needs it.
func (s *Set) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.New("files can't be listed")
}
