package controllers

import (
	"os"
	"testing"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/cartero-mail/cartero/internal/kubetest"
)

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	os.Exit(kubetest.Main(m))
}
