package manifest_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/manifest"
)

// TestRead reads a directory with a kustomization.
func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"kustomization.yaml": "namespace: marketing\nresources: [news.yaml]\nconfigMapGenerator:\n- name: lists\n" +
			"  files: [list.csv, other=sub/list.txt, ../outside.csv, missing.csv]\n  literals: [subject=News, broken]\n",
		"list.csv":           "email\nada@example.org\n",
		"sub/list.txt":       "bob@example.org\n",
		"sub/secret.yml":     "apiVersion: v1\nkind: Secret\nmetadata: {name: keys, namespace: marketing}\ndata: {a: Yg==}\nstringData: {c: d}\n",
		"news.yaml":          "apiVersion: mail.cartero.dev/v1alpha1\nkind: EmailCampaign\nmetadata: {name: news}\n",
		"service.json":       `{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}}`,
		".hidden/x.yaml":     "{",
		"notes.txt":          "{",
		"empty.yaml":         "# nothing\n---\n---\n",
		"broken.yaml":        "a: b: c\n",
		"sub/more/news.yaml": "apiVersion: mail.cartero.dev/v1alpha1\nkind: EmailCampaign\nmetadata: {name: more}\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set, err := manifest.Read([]string{dir, "-"}, strings.NewReader("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: piped}\n"))
	if err != nil {
		t.Fatal(err)
	}
	type found struct {
		Campaigns, Others, Problems []string
		Bundles                     map[string][]string
	}
	got := found{Bundles: map[string][]string{}}
	for _, d := range set.Campaigns {
		got.Campaigns = append(got.Campaigns, d.Name)
	}
	for _, d := range set.Others {
		got.Others = append(got.Others, d.Kind)
	}
	for _, err := range set.Problems {
		got.Problems = append(got.Problems, strings.TrimPrefix(err.Error(), dir+"/"))
	}
	for _, b := range set.Bundles {
		got.Bundles[b.Kind+" "+b.Namespace+"/"+b.Name] = slices.Sorted(maps.Keys(b.Data))
	}
	want := found{
		Campaigns: []string{"news", "more"},
		Others:    []string{"Service"},
		Problems: []string{
			"broken.yaml:1: is not YAML: mapping values are not allowed in this context",
			"kustomization.yaml:6: configMapGenerator[0].literals[1]: is not of the form key=value",
			"kustomization.yaml:5: configMapGenerator[0].files[2]: is not a file below the kustomization: kustomize does not read it either",
			"kustomization.yaml:5: configMapGenerator[0].files[3]: the file can't be read",
		},
		Bundles: map[string][]string{
			"ConfigMap /piped":          {},
			"ConfigMap marketing/lists": {"list.csv", "other", "subject"},
			"Secret marketing/keys":     {"a", "c"},
		},
	}
	for name, keys := range got.Bundles {
		if keys == nil {
			got.Bundles[name] = []string{}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("set (-want +got):\n%s", diff)
	}
	if _, err := manifest.Read([]string{filepath.Join(dir, "missing.yaml")}, nil); err == nil {
		t.Error("a file that does not exist was read")
	}
}
