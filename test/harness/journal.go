package harness

import (
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Unanswered reads the journal of a worker that was killed: the recipients whose final dot may have gone out and whose
// reply was not read. Its files are as docs/worker.md has them.
func Unanswered(tb testing.TB, directory string) []string {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(directory, "*.journal"))
	if err != nil {
		tb.Fatal(err)
	}
	var open []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			tb.Fatalf("Reading the journal: %v", err)
		}
		dots := map[string]bool{}
		for line := range strings.Lines(string(text)) {
			words, ok := unseal(line)
			switch {
			case !ok: // torn: the write had not returned
			case words[0] == "DOT":
				dots[words[1]] = true
			case words[0] == "RES":
				delete(dots, words[1])
			}
		}
		for id := range dots {
			open = append(open, id)
		}
	}
	return open
}

// unseal checks a line's CRC-32 and returns its words, at least two.
func unseal(line string) ([]string, bool) {
	line, ok := strings.CutSuffix(line, "\n")
	at := strings.LastIndexByte(line, ' ')
	if !ok || at < 0 {
		return nil, false
	}
	sum, err := strconv.ParseUint(line[at+1:], 16, 32)
	if err != nil || uint32(sum) != crc32.ChecksumIEEE([]byte(line[:at])) {
		return nil, false
	}
	words := strings.Fields(line[:at])
	return words, len(words) >= 2
}
