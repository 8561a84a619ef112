package options

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/cartero-mail/cartero/internal/fetch"
)

// Fetch says where the operator may fetch lists and attachments from.
type Fetch struct {
	// AllowHosts are what may be asked although it is not public: names, addresses and ranges.
	AllowHosts []string
	// OnlyHosts, where there are any, are the only ones to ask.
	OnlyHosts []string
	// AllowPorts may be asked besides 443.
	AllowPorts []string
	// CAFile holds further certificates that are trusted; Proxy is a URL; Dir is where files are kept meanwhile.
	CAFile string
	Proxy  string
	Dir    string
}

// Bind implements Area.
func (o *Fetch) Bind(b *Binder) {
	b.Area("Fetching")
	b.List(&o.AllowHosts, Spec{
		Variable: "FETCH_ALLOW_HOSTS",
		Meaning:  "what urlRef may name although it is not public: host names, addresses and ranges such as 10.1.2.0/24, separated by commas (see docs/lists.md)",
	})
	b.List(&o.OnlyHosts, Spec{
		Variable: "FETCH_ONLY_HOSTS",
		Meaning:  "the only hosts that urlRef may name: names, or .example.com for all below it, separated by commas; any host unless set",
	})
	b.List(&o.AllowPorts, Spec{Variable: "FETCH_ALLOW_PORTS", Meaning: "ports that urlRef may name besides 443, separated by commas"})
	b.String(&o.CAFile, Spec{
		Variable: "FETCH_CA_FILE",
		Meaning:  "path of certificates in PEM that are trusted besides the system's when something is fetched",
	})
	b.String(&o.Proxy, Spec{
		Variable: "FETCH_PROXY",
		Meaning:  "http or https URL of a proxy that everything is fetched through; then it is the proxy that decides what can be reached",
	})
	b.String(&o.Dir, Spec{
		Variable: "FETCH_DIR",
		Meaning:  "directory for what is fetched while it is read; the system's temporary directory unless set",
	})
}

// Validate implements Area.
func (o *Fetch) Validate() error {
	var problems []error
	for _, port := range o.AllowPorts {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			problems = append(problems, SettingError{"FETCH_ALLOW_PORTS", "must be numbers from 1 to 65535, separated by commas"})
			break
		}
	}
	if o.Proxy != "" {
		if u, err := url.Parse(o.Proxy); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			problems = append(problems, SettingError{"FETCH_PROXY", "must be of the form http://host:port or https://host:port"})
		}
	}
	if info, err := os.Stat(o.CAFile); o.CAFile != "" && (err != nil || info.IsDir()) {
		problems = append(problems, SettingError{"FETCH_CA_FILE", "must be the path of a readable file"})
	}
	if info, err := os.Stat(o.Dir); o.Dir != "" && (err != nil || !info.IsDir()) {
		problems = append(problems, SettingError{"FETCH_DIR", "must be a directory"})
	}
	if len(problems) == 0 {
		if _, err := o.Client(); err != nil {
			problems = append(problems, SettingError{"FETCH_ALLOW_HOSTS", "can't be used with the other FETCH_ settings: " + err.Error()})
		}
	}
	return errors.Join(problems...)
}

// Client fetches as the settings say.
func (o *Fetch) Client() (*fetch.Client, error) {
	config := fetch.Config{AllowPrivate: o.AllowHosts, Hosts: o.OnlyHosts, Dir: o.Dir}
	for _, text := range o.AllowPorts {
		port, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("reading FETCH_ALLOW_PORTS: %w", err)
		}
		config.Ports = append(config.Ports, port)
	}
	var err error
	if o.CAFile != "" {
		if config.CA, err = os.ReadFile(o.CAFile); err != nil {
			return nil, fmt.Errorf("reading FETCH_CA_FILE: %w", err)
		}
	}
	if o.Proxy != "" {
		if config.Proxy, err = url.Parse(o.Proxy); err != nil {
			return nil, errors.New("FETCH_PROXY is not a URL")
		}
	}
	return fetch.New(config)
}

func (o *Fetch) secrets() []string {
	u, err := url.Parse(o.Proxy)
	if err != nil || u.User == nil {
		return nil
	}
	password, _ := u.User.Password()
	return strings.Fields(password)
}
