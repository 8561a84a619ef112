package nodejs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// GeneratePrisma makes the Prisma client of test/interop, whose path is dir, unless it is there for the packages and the
// schema: once for all processes.
func GeneratePrisma(dir string) error {
	generation.Do(func() { generation.err = generatePrisma(dir) })
	return generation.err
}

var generation struct {
	sync.Once

	err error
}

func generatePrisma(dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "generated"), 0o750); err != nil {
		return fmt.Errorf("making the folder of the Prisma client: %w", err)
	}
	unlock, err := lock(filepath.Join(dir, "generated", ".lock"))
	if err != nil {
		return fmt.Errorf("locking the Prisma client: %w", err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "prisma/generate.js")
	cmd.Dir = dir
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("generating the Prisma client: %w\n%s", err, output)
	}
	return nil
}
