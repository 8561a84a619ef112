package measure

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Machine says on what a run was made.
type Machine struct {
	Cores int    `json:"cores"`
	OS    string `json:"os"`
	// Load is the load average of the minute before the run; empty where the system does not tell.
	Load string `json:"load,omitempty"`
}

// ThisMachine describes this one, now.
func ThisMachine() Machine {
	return Machine{Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH, Load: LoadAverage()}
}

// String is what a table says of it.
func (m Machine) String() string {
	text := fmt.Sprintf("%s, %d cores", m.OS, m.Cores)
	if m.Load != "" {
		text += ", load " + m.Load + " before"
	}
	return text
}

// LoadAverage is that of the last minute, or empty.
func LoadAverage() string {
	load, _, _ := strings.Cut(read("/proc/loadavg"), " ")
	return load
}

// ReadJSON reads what WriteJSON wrote.
func ReadJSON(file string, report any) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the report: %w", err)
	}
	if err := json.Unmarshal(text, report); err != nil {
		return fmt.Errorf("reading the report: %w", err)
	}
	return nil
}

// WriteJSON writes a report for programs; without a file it does nothing.
func WriteJSON(file string, report any) error {
	if file == "" {
		return nil
	}
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
