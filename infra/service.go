package infra

import (
	"fmt"
	"path"
	"syscall"

	"isukit/infra/host"
	"isukit/infra/render"
	"isukit/infra/topology"
)

// How an instance of each role is started. dir is the instance's, s are its sizes.

func appService(name, program, dir string, s topology.Sizes) host.Service {
	return host.Service{
		Name: name, Dir: dir, LogFile: path.Join(dir, outputLog), Argv: []string{program, "--config", path.Join(dir, render.AppConf)},
		Env: []string{fmt.Sprintf("GOMAXPROCS=%d", s.GOMAXPROCS)}, NoFile: s.Files,
	}
}

// errorOption says that this nginx can be told where its log is before it reads its configuration.
func proxyService(i topology.Instance, program, dir string, s topology.Sizes, errorOption bool) host.Service {
	service := host.Service{Name: i.Name, Dir: dir, LogFile: path.Join(dir, outputLog), NoFile: s.Files}
	if i.Kind == topology.Envoy {
		service.Argv = []string{program, "-c", path.Join(dir, render.EnvoyConf), "--disable-hot-restart", "--log-level", "warn", "--concurrency", fmt.Sprint(s.Workers)}
		return service
	}
	service.Argv = []string{program, "-p", dir, "-c", path.Join(dir, render.NginxConf)}
	if errorOption {
		service.Argv = append(service.Argv, "-e", path.Join(dir, errorLog))
	}
	service.StopSignal = syscall.SIGQUIT
	return service
}

// nginxTmp is a file in the directory above those that nginx makes for bodies, which it does not make itself.
func nginxTmp(dir string) (file string, text []byte) {
	return path.Join(dir, "tmp", "README"), []byte("bodies that nginx buffers\n")
}

// databaseService is one whose command its data directory decides, once that is laid down.
func databaseService(name, dir string, argv []string, s topology.Sizes) host.Service {
	return host.Service{Name: name, Dir: dir, LogFile: path.Join(dir, outputLog), Argv: argv, NoFile: s.Files}
}
