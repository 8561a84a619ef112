package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/devstack"
	"github.com/cartero-mail/cartero/test/bench/measure"
)

// patience bounds a wait for something that should come, glance is how often it is looked for.
const (
	patience = 15 * time.Minute
	glance   = 50 * time.Millisecond
)

// stage has what the operator's own process needs beside a database of its own.
type stage struct {
	settings settings
	servers  *measure.Servers
	dir      string
	site     string // URL of the list
	caFile   string
	plane    *devstack.ControlPlane
	client   client.Client
	redis    *redis.Client
	applied  int
}

// newStage starts an API server.
func newStage(ctx context.Context, s settings, servers *measure.Servers, dir, site, authority string) (*stage, error) {
	g := &stage{settings: s, servers: servers, dir: dir, site: site, caFile: filepath.Join(dir, "ca.pem")}
	if err := os.WriteFile(g.caFile, []byte(authority), 0o600); err != nil {
		return nil, err
	}
	options, err := redis.ParseURL(s.Redis)
	if err != nil {
		return nil, errors.New("-redis is no URL of a Redis")
	}
	directory, err := devstack.OpenDirectory(filepath.Join(dir, "cluster"))
	if err != nil {
		return nil, err
	}
	if g.plane, err = devstack.StartControlPlane(ctx, directory, s.assets); err != nil {
		return nil, err
	}
	g.redis = redis.NewClient(options)
	scheme := runtime.NewScheme()
	if err = v1alpha1.AddToScheme(scheme); err == nil {
		g.client, err = client.New(g.plane.Config, client.Options{Scheme: scheme})
	}
	if err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

func (g *stage) close() error {
	if g == nil {
		return nil
	}
	return errors.Join(g.redis.Close(), g.plane.Stop())
}

// oneCampaign applies a campaign of the list to an operator of its own with an empty database, and waits until every job
// is in the queue, and the status says so. bare is what LOAD DATA took in this round, in seconds.
func (g *stage) oneCampaign(ctx context.Context, bare float64, add func(name string, value float64)) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	db, err := newDatabase(ctx, g.servers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.drop()) }()
	queue := "bench-" + strings.ToLower(rand.Text())
	operator, err := g.start(ctx, db.url, queue)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, operator.stop()) }()
	if err := operator.await(ctx); err != nil {
		return err
	}
	before, _ := measure.Memory(operator.pid())
	cpu, serverCPU := measure.CPU(operator.pid()), measure.CPU(g.servers.DatabasePID)

	g.applied++
	object := &v1alpha1.EmailCampaign{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("list-%d", g.applied)}}
	object.Spec.Message = v1alpha1.Message{Engine: v1alpha1.EngineMustache, Subject: "News", Text: "Hello {{name}}"}
	object.Spec.Recipients.URLRef = &v1alpha1.URLReference{URL: g.site}
	begin := time.Now()
	if err := g.client.Create(ctx, object); err != nil {
		return fmt.Errorf("applying the campaign: %w", err)
	}
	defer func() { err = errors.Join(err, g.forget(ctx, object)) }()
	// Few jobs of a campaign wait at a time: with the first of them there it is sealed, and workers may begin.
	err = until(ctx, func() (bool, error) {
		n, err := g.redis.LLen(ctx, "bull:"+queue+":wait").Result()
		return n > 0, err
	})
	if err != nil {
		return fmt.Errorf("waiting for jobs in the queue: %w; %s", err, operator.lastWords())
	}
	rung := time.Since(begin).Seconds()
	err = until(ctx, func() (bool, error) {
		err := g.client.Get(ctx, client.ObjectKeyFromObject(object), object)
		return object.Status.MaterializedTime != nil, err
	})
	if err != nil {
		return fmt.Errorf("waiting for the status: %w", err)
	}
	add("campaign", rung)
	add("campaign ratio", rung/bare)
	add("campaign told", time.Since(begin).Seconds())
	_, most := measure.Memory(operator.pid())
	add("campaign memory", most-before)
	add("campaign cpu", measure.CPU(operator.pid())-cpu)
	add("campaign server cpu", measure.CPU(g.servers.DatabasePID)-serverCPU)
	return nil
}

// forget takes the object out of the cluster without an operator: the next one has another database.
func (g *stage) forget(ctx context.Context, object *v1alpha1.EmailCampaign) error {
	ctx = context.WithoutCancel(ctx)
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
	return errors.Join(g.client.Delete(ctx, object), client.IgnoreNotFound(g.client.Patch(ctx, object, patch)))
}

// until waits until a condition holds.
func until(ctx context.Context, holds func() (bool, error)) error {
	for {
		if ok, err := holds(); err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(glance):
		}
	}
}

// operatorProcess is cartero operator.
type operatorProcess struct {
	command *exec.Cmd
	log     string
	ready   string // URL
}

// start starts an operator whose log is a file in the directory.
func (g *stage) start(ctx context.Context, database, queue string) (*operatorProcess, error) {
	site, err := url.Parse(g.site)
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return nil, err
	}
	p := &operatorProcess{log: filepath.Join(g.dir, "operator.log"), ready: "http://" + address + "/readyz"}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.command = exec.CommandContext(ctx, g.settings.Cartero, "operator")
	p.command.Stdout, p.command.Stderr = log, log
	p.command.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + g.dir, "TMPDIR=" + g.dir, "KUBECONFIG=" + g.plane.Kubeconfig, "LEADER_ELECT=false",
		"DATABASE_URL=" + database, "REDIS_URL=" + g.settings.Redis, "QUEUE_NAME_EMAIL=" + queue, "SMTP_FROM=news@bench.example",
		"FETCH_ALLOW_HOSTS=" + site.Hostname(), "FETCH_ALLOW_PORTS=" + site.Port(), "FETCH_CA_FILE=" + g.caFile,
		"METRICS_BIND_ADDRESS=0", "HEALTH_PROBE_BIND_ADDRESS=" + address, "LOG_LEVEL=warn",
	}
	return p, p.command.Start()
}

// await waits until the operator is ready.
func (p *operatorProcess) await(ctx context.Context) error {
	err := until(ctx, func() (bool, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.ready, http.NoBody)
		if err != nil {
			return false, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false, nil //nolint:nilerr // not yet
		}
		return response.StatusCode == http.StatusOK, response.Body.Close()
	})
	if err != nil {
		return fmt.Errorf("waiting for the operator: %w; %s", err, p.lastWords())
	}
	return nil
}

func (p *operatorProcess) pid() int { return p.command.Process.Pid }

func (p *operatorProcess) stop() error {
	return errors.Join(p.command.Process.Signal(syscall.SIGTERM), p.command.Wait())
}

// lastWords are the end of the log.
func (p *operatorProcess) lastWords() string {
	text, _ := os.ReadFile(p.log)
	return "the operator said: " + string(text[max(0, len(text)-2000):])
}
