package check

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/test/faults/ledger"
)

// Files are where the parts of a Run are; an empty path is left out.
type Files struct {
	// Ledger is the relay's book, History what was done and seen, Queue what DumpQueue wrote.
	Ledger, History, Queue string
	// Outputs and Journals are directories: of what the processes said, and of the workers' journals.
	Outputs, Journals string
	// Secrets is a file with a secret on each line.
	Secrets string
}

// Read reads the files into the run.
func (r *Run) Read(files Files) (err error) {
	if files.Ledger != "" {
		if r.Ledger, _, err = ledger.Read(files.Ledger); err != nil {
			return err
		}
	}
	if files.History != "" {
		if r.History, err = ReadHistory(files.History); err != nil {
			return err
		}
	}
	if files.Queue != "" {
		if r.Queue, err = readLines[QueueKey](files.Queue); err != nil {
			return err
		}
	}
	if files.Outputs != "" {
		r.Outputs = map[string]string{}
		err := walk(files.Outputs, func(name, path string) error {
			text, err := os.ReadFile(path)
			r.Outputs[name] = string(text)
			return err
		})
		if err != nil {
			return err
		}
	}
	if files.Journals != "" {
		err := walk(files.Journals, func(name, _ string) error {
			r.Journals = append(r.Journals, name)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if files.Secrets != "" {
		text, err := os.ReadFile(files.Secrets)
		if err != nil {
			return fmt.Errorf("reading the secrets: %w", err)
		}
		r.Secrets = strings.Fields(string(text))
	}
	return nil
}

func walk(directory string, visit func(name, path string) error) error {
	return filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(directory, path)
		if err != nil {
			return err
		}
		return visit(name, path)
	})
}

// DumpQueue reads all keys of a queue: those that begin with the prefix.
func DumpQueue(ctx context.Context, client *redis.Client, prefix string) ([]QueueKey, error) {
	var keys []QueueKey
	names := client.Scan(ctx, 0, prefix+"*", 1000).Iterator()
	for names.Next(ctx) {
		key := QueueKey{Name: names.Val()}
		var err error
		if key.Type, err = client.Type(ctx, key.Name).Result(); err != nil {
			return nil, fmt.Errorf("reading the queue: %w", err)
		}
		switch key.Type {
		case "list":
			key.Values, err = client.LRange(ctx, key.Name, 0, -1).Result()
		case "set":
			key.Values, err = client.SMembers(ctx, key.Name).Result()
		case "zset":
			key.Values, err = client.ZRange(ctx, key.Name, 0, -1).Result()
		case "hash":
			var fields map[string]string
			fields, err = client.HGetAll(ctx, key.Name).Result()
			for name, value := range fields {
				key.Values = append(key.Values, name+"="+value)
			}
			slices.Sort(key.Values)
		case "string":
			var value string
			value, err = client.Get(ctx, key.Name).Result()
			key.Values = []string{value}
		case "none": // it has expired meanwhile
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the queue: %w", err)
		}
		keys = append(keys, key)
	}
	return keys, names.Err()
}

// WriteQueue writes keys for Files.Queue.
func WriteQueue(path string, keys []QueueKey) error {
	var text []byte
	for _, key := range keys {
		line, err := json.Marshal(key)
		if err != nil {
			return fmt.Errorf("writing the queue's keys: %w", err)
		}
		text = append(append(text, line...), '\n')
	}
	return os.WriteFile(path, text, 0o600)
}
