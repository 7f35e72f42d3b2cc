package tune

import (
	"context"
	"time"

	"isukit/infra/host"
)

// Apply is ApplyAll for one target.
func (t *Target) Apply(ctx context.Context, now time.Time, tunings ...Tuning) (Report, error) {
	return ApplyAll(ctx, now, []*Target{t}, tunings)
}

// Revert is RevertAll for one target.
func (t *Target) Revert(ctx context.Context, o RevertOptions) (Report, error) {
	return RevertAll(ctx, []*Target{t}, o)
}

// Verify is VerifyAll for one target.
func (t *Target) Verify(ctx context.Context) (Report, error) {
	report, _, err := VerifyAll(ctx, []*Target{t})
	return report, err
}

// Records are what is applied on the target.
func (t *Target) Records(ctx context.Context) ([]*Record, error) {
	defer t.store.close()
	return t.store.all(ctx)
}

// CheckKernel is the kernel's check of a record.
func CheckKernel(ctx context.Context, h host.Host, c KernelConfig, r *Record) (string, error) {
	return kernel{host: &seen{Host: h}, c: c}.check(ctx, r)
}
