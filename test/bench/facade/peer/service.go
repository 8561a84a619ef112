package peer

import (
	"context"
	_ "embed" // the service
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

//go:embed service.py
var program []byte

// startTime bounds the service's start.
const startTime = time.Minute

// Service is a mail service that runs.
type Service struct {
	// URL is where it listens, without a path.
	URL string

	cmd   *exec.Cmd
	ended chan struct{}
}

// Start starts the service on a free port, with its record of mails and its output below dir, and env as its settings. It
// returns when the service answers.
func Start(ctx context.Context, dir string, env map[string]string) (*Service, error) {
	interpreter, err := Python()
	if err != nil {
		return nil, err
	}
	script := filepath.Join(dir, "service.py")
	if err := os.WriteFile(script, program, 0o600); err != nil {
		return nil, err
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	output, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = output.Close() }() // the process has its own

	s := &Service{URL: "http://127.0.0.1:" + port, ended: make(chan struct{})}
	s.cmd = exec.Command(interpreter, script)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = dir, output, output
	s.cmd.Env = append(os.Environ(), "SERVICE_HOST=127.0.0.1", "SERVICE_PORT="+port, "DATABASE_PATH="+filepath.Join(dir, "mails.db"))
	for name, value := range env {
		s.cmd.Env = append(s.cmd.Env, name+"="+value)
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the Python service: %w", err)
	}
	go func() {
		defer close(s.ended)
		_ = s.cmd.Wait() // its output says why it ended
	}()
	if err := s.await(ctx); err != nil {
		s.Stop()
		said, readErr := os.ReadFile(output.Name())
		return nil, errors.Join(fmt.Errorf("the Python service does not answer: %w\n%s", err, said), readErr)
	}
	return s, nil
}

// freePort finds a port that nobody listens on.
func freePort(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	defer func() { _ = listener.Close() }()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	return port, err
}

// await waits until the service is healthy.
func (s *Service) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	client := &http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/health", http.NoBody)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(response.Status)
		}
		select {
		case <-s.ended:
			return errors.New("it has ended")
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-ticker.C:
		}
	}
}

// PID is the process's id.
func (s *Service) PID() int { return s.cmd.Process.Pid }

// Stop ends the service at once; mails in its queue are lost, as they are when such a service restarts.
func (s *Service) Stop() {
	_ = s.cmd.Process.Kill() // it may have ended by itself
	<-s.ended
}
