// Package kubetest is test support: a real Kubernetes API server with the CRD for each test binary, the real kubectl, and
// builders for campaigns. It is imported from _test.go files only.
//
//	func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }
//
//	func TestSomething(t *testing.T) {
//		cluster := kubetest.Start(t)
//		namespace := cluster.Namespace(t)
//		…
//	}
package kubetest
