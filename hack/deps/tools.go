//go:build tools

package tools
import (
 _ "sigs.k8s.io/controller-runtime"
 _ "sigs.k8s.io/controller-runtime/pkg/envtest"
 _ "sigs.k8s.io/controller-runtime/pkg/client/interceptor"
 _ "k8s.io/client-go/kubernetes"
 _ "github.com/redis/go-redis/v9"
 _ "gorm.io/gorm"
 _ "gorm.io/driver/mysql"
 _ "gorm.io/driver/sqlite"
 _ "modernc.org/sqlite"
 _ "github.com/wneessen/go-mail"
 _ "github.com/alicebob/miniredis/v2"
 _ "github.com/google/uuid"
 _ "github.com/google/go-cmp/cmp"
 _ "github.com/emersion/go-smtp"
 _ "github.com/go-sql-driver/mysql"
 _ "go.uber.org/goleak"
 _ "golang.org/x/net/idna"
 _ "golang.org/x/sync/errgroup"
 _ "github.com/jhillyerd/enmime/v2"
 _ "github.com/prometheus/client_golang/prometheus"
 _ "github.com/fluxcd/cli-utils/pkg/kstatus/status"
)
