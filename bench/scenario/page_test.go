package scenario

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"isukit/bench/load"
	portalv1 "isukit/proto/portal/v1"
	"isukit/proto/wire"
)

// TestPagingBackEnds has an app that answers every page with the newest jobs: paging finds a fault and ends.
func TestPagingBackEnds(t *testing.T) {
	list := &portalv1.ListJobsResponse{}
	owner := &team{id: 1, name: "one"}
	for i := range listedJobs {
		memo := fmt.Sprintf("memo %d", i)
		owner.jobs = append(owner.jobs, &job{team: owner, target: "t", memo: memo, enqueued: write{sent: time.Now()}})
		list.Jobs = append(list.Jobs, &portalv1.Job{
			Id: int64(500 - i), TeamId: 1, Target: "t", Memo: memo, Status: portalv1.JobStatus_JOB_STATUS_WAITING, CreatedAtUs: time.Now().UnixMicro(),
		})
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { wire.Write(w, 200, list) }))
	defer s.Close()
	origin, err := load.ParseOrigin(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(Options{Engine: load.NewEngine(load.Options{}), Web: origin, Dataset: Dataset{Admin: Login{Name: "a"}, Leaders: []Login{{Name: "l"}}}})
	if err != nil {
		t.Fatal(err)
	}
	b := p.quietBrowser(0, "test")
	defer b.close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	wantFault(t, b.checkAllJobs(ctx, owner), load.Wrong, "list of jobs begins elsewhere than asked")
}
