package points

import (
	"os"
	"testing"

	"github.com/cartero-mail/cartero/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
