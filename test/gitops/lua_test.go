package gitops_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// argo is where Argo CD's scripts for campaigns are, in the layout of its resource_customizations.
const argo = "../../config/gitops/argocd/mail.cartero.dev/EmailCampaign"

// token is the time in the golden objects of the actions.
const token = "2026-11-22T09:01:00Z"

// run runs a script as Argo CD does: with the libraries that it opens and the object as `obj`.
func run(t *testing.T, script string, object *unstructured.Unstructured) lua.LValue {
	t.Helper()
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable,
	} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			t.Fatalf("opening %s: %v", name, err)
		}
	}
	clock := state.NewTable() // Argo CD's own os has the time and nothing else
	state.SetField(clock, "date", state.NewFunction(func(l *lua.LState) int {
		l.Push(lua.LString(token))
		return 1
	}))
	state.SetGlobal("os", clock)
	state.SetGlobal("obj", toLua(state, object.Object))
	if err := state.DoString(read(t, script)); err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return state.Get(-1)
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case map[string]any:
		table := state.NewTable()
		for key, element := range value {
			table.RawSetString(key, toLua(state, element))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, element := range value {
			table.Append(toLua(state, element))
		}
		return table
	case string:
		return lua.LString(value)
	case bool:
		return lua.LBool(value)
	case int64:
		return lua.LNumber(value)
	default:
		return lua.LNil
	}
}

func fromLua(value lua.LValue) any {
	table, ok := value.(*lua.LTable)
	switch {
	case ok && table.MaxN() > 0:
		list := make([]any, 0, table.MaxN())
		table.ForEach(func(_, element lua.LValue) { list = append(list, fromLua(element)) })
		return list
	case ok:
		object := map[string]any{}
		table.ForEach(func(key, element lua.LValue) { object[key.String()] = fromLua(element) })
		return object
	}
	switch value := value.(type) {
	case lua.LBool:
		return bool(value)
	case lua.LNumber: // every number in the status is whole
		return int64(value)
	case lua.LString:
		return string(value)
	default:
		return nil
	}
}

// states are the objects in each state that the operator writes; its own tests keep them up to date.
func states(t *testing.T) map[string]*unstructured.Unstructured {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(argo, "testdata", "*.yaml"))
	if err != nil || len(files) < 30 {
		t.Fatalf("%d states, %v", len(files), err)
	}
	found := map[string]*unstructured.Unstructured{}
	for _, file := range files {
		found[strings.TrimSuffix(filepath.Base(file), ".yaml")] = object(t, file)
	}
	return found
}

func object(t *testing.T, file string) *unstructured.Unstructured {
	t.Helper()
	text, err := yaml.YAMLToJSON([]byte(read(t, file)))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	found := &unstructured.Unstructured{}
	if err := found.UnmarshalJSON(text); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return found
}

func load(t *testing.T, file string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, file)), into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
