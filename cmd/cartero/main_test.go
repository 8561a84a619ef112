package main

import (
	"os"
	"testing"

	"github.com/cartero-mail/cartero/internal/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }
