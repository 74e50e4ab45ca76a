"""How each real part is had: a table of parts, built once from public sources and kept by version."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from testbed import cache
from testbed.errors import BuildFailedError, MissingToolError
from testbed.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KAFKA_VERSION = "4.1.2"
MONGO_VERSION = "1.47.0"
"""Of mongo-java-server, which speaks MongoDB's wire protocol out of its memory."""
KUBERNETES_VERSION = "1.37.2"
ETCD_VERSION = "3.6.8"
JAEGER_VERSION = "1.62.0"
HELM_VERSION = "3.22.0"
PROMETHEUS_VERSION = "0.316.0"
"""Of the Go module: Prometheus 3.16."""

MAVEN = ("mvn", "-B", "-Dstyle.color=never")
DIGEST_LETTERS = 12
PIZZA_ORDERS_SOURCE = Path(__file__).resolve().parents[1] / "examples" / "pizza-orders"

# What to install when a program is missing.
INSTALL_HINTS = {
    "java": "a Java runtime 17 or newer (Debian: openjdk-17-jre-headless)",
    "javac": "a Java compiler 17 or newer (Debian: openjdk-17-jdk-headless)",
    "mvn": "Apache Maven (Debian: maven)",
    "go": "Go 1.26 or newer (go.dev)",
}


@dataclass(frozen=True)
class Part:
    """One thing to have.

    Attributes:
        name: what it is called on the command line.
        version: part of the cache key, with everything that changes the result.
        build_tools: programs needed to build it.
        run_tools: programs needed to run it.
        build: fills an empty folder.
    """

    name: str
    version: str
    build_tools: tuple[str, ...]
    run_tools: tuple[str, ...]
    build: Callable[[Path, Progress], None]

    @property
    def key(self) -> str:
        """Name of its folder in the cache."""
        return f"{self.name}-{self.version}"


def build_kafka(folder: Path, progress: Progress) -> None:
    """Copy Kafka and its dependencies, as jars, into `lib`."""
    _copy_jars(folder, progress, "org.apache.kafka", "kafka_2.13", KAFKA_VERSION)


def build_mongo(folder: Path, progress: Progress) -> None:
    """Copy mongo-java-server and its dependencies, as jars, into `lib`, and compile what starts it beside them."""
    _copy_jars(folder, progress, "de.bwaldvogel", "mongo-java-server", MONGO_VERSION)
    (folder / "MongoServer.java").write_text(_template("MongoServer.java"))
    command = ["javac", "-cp", "lib/*", "-d", "lib", "MongoServer.java"]
    progress.run("compiling", command, cwd=folder, log=folder / "build.log")


def build_pizza_orders(folder: Path, progress: Progress) -> None:
    """Build the example of a Kafka Streams pipeline, with its dependencies, as jars, into `target/lib`."""
    shutil.copytree(PIZZA_ORDERS_SOURCE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("target"))
    progress.run("building with Maven", [*MAVEN, "package"], cwd=folder, log=folder / "build.log")


def build_control_plane(folder: Path, progress: Progress) -> None:
    """Build etcd, kube-apiserver and kube-controller-manager into `bin`."""
    log = folder / "build.log"
    module = f"k8s.io/kubernetes@v{KUBERNETES_VERSION}"
    (folder / "go.mod").write_text("module testbed\n")
    progress.step("downloading Kubernetes' sources")
    upstream = _download_go_mod(module, folder)
    (folder / "go.mod").write_text(render_go_mod(upstream, KUBERNETES_VERSION, ETCD_VERSION))
    minor = KUBERNETES_VERSION.split(".")[1]
    version_package = "k8s.io/component-base/version"
    flags = " ".join(
        (
            "-s -w",
            f"-X {version_package}.gitVersion=v{KUBERNETES_VERSION}",
            f"-X {version_package}.gitMajor=1",
            f"-X {version_package}.gitMinor={minor}",
        )
    )
    _build_go(
        folder,
        progress,
        log=log,
        linker_flags=flags,
        binaries={
            "etcd": "go.etcd.io/etcd/server/v3",
            "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
            "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
        },
    )


def build_jaeger(folder: Path, progress: Progress) -> None:
    """Build Jaeger's all-in-one into `bin`; built from the module alone it has no web UI."""
    module = f"github.com/jaegertracing/jaeger v{JAEGER_VERSION}"
    _build_module(folder, progress, module, {"jaeger": "github.com/jaegertracing/jaeger/cmd/all-in-one"})


def build_helm(folder: Path, progress: Progress) -> None:
    """Build Helm into `bin`."""
    _build_module(folder, progress, f"helm.sh/helm/v3 v{HELM_VERSION}", {"helm": "helm.sh/helm/v3/cmd/helm"})


def build_promql(folder: Path, progress: Progress) -> None:
    """Build a small program around Prometheus' own PromQL parser into `bin`."""
    (folder / "promql").mkdir()
    (folder / "promql" / "main.go").write_text(_template("promql.go"))
    module = f"github.com/prometheus/prometheus v{PROMETHEUS_VERSION}"
    # Its requirements, as they stand in its own go.mod, ask for this version of the language.
    _build_module(folder, progress, module, {"promql": "testbed/promql"}, go_version="1.26")


def _digest(*contents: bytes) -> str:
    """Of what is built here, for a key: every change of it is built anew."""
    digest = hashlib.sha256()
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:DIGEST_LETTERS]


def _template(name: str) -> str:
    return resources.files("testbed").joinpath("templates", name).read_text()


def pizza_orders_version() -> str:
    """A digest of what Maven builds the example from, each file with its name."""
    files = (PIZZA_ORDERS_SOURCE / "pom.xml", *sorted((PIZZA_ORDERS_SOURCE / "src").rglob("*.java")))
    named = (f"{path.relative_to(PIZZA_ORDERS_SOURCE)}\n".encode() + path.read_bytes() for path in files)
    return _digest(*named)


KAFKA = Part("kafka", KAFKA_VERSION, build_tools=("mvn", "java"), run_tools=("java",), build=build_kafka)
MONGO = Part(
    "mongo",
    f"{MONGO_VERSION}-{_digest(_template('MongoServer.java').encode())}",
    build_tools=("mvn", "javac"),
    run_tools=("java",),
    build=build_mongo,
)
PIZZA_ORDERS = Part(
    "pizza-orders",
    pizza_orders_version(),
    build_tools=("mvn", "javac"),
    run_tools=("java",),
    build=build_pizza_orders,
)
CONTROL_PLANE = Part(
    "control-plane",
    f"{KUBERNETES_VERSION}-etcd-{ETCD_VERSION}",
    build_tools=("go",),
    run_tools=(),
    build=build_control_plane,
)
JAEGER = Part("jaeger", JAEGER_VERSION, build_tools=("go",), run_tools=(), build=build_jaeger)
PROMQL = Part("promql", PROMETHEUS_VERSION, build_tools=("go",), run_tools=(), build=build_promql)
HELM = Part("helm", HELM_VERSION, build_tools=("go",), run_tools=(), build=build_helm)

PARTS: tuple[Part, ...] = (KAFKA, MONGO, PIZZA_ORDERS, PROMQL, JAEGER, HELM, CONTROL_PLANE)
"""Quick ones first, so that something is usable early."""


def ensure(part: Part, *, root: Path | None = None) -> Path:
    """Return the folder of a part, building it first if it is not in the cache.

    Raises:
        MissingToolError: a program to build or run it is not on PATH.
        BuildFailedError: a build command failed.
    """
    place = root or cache.default_root()
    require_tools(part.name, part.run_tools)
    if (place / part.key).is_dir():
        return place / part.key
    require_tools(part.name, part.build_tools)
    progress = Progress(f"{part.name} {part.version}")

    def make(folder: Path) -> None:
        part.build(folder, progress)

    def waiting(seconds: float) -> None:
        progress.tick(f"waiting {seconds:.0f} s for another process that builds it")

    folder = cache.ensure(place, part.key, make, waiting=waiting)
    progress.done(f"ready in {folder}")
    return folder


def require_tools(part: str, tools: Sequence[str]) -> None:
    """Check that programs are on PATH.

    Raises:
        MissingToolError: one is not; the message says what to install.
    """
    for tool in tools:
        if shutil.which(tool) is None:
            raise MissingToolError(f"{part} needs `{tool}`, which is not on PATH: install {INSTALL_HINTS[tool]}")


def render_go_mod(upstream_go_mod: str, kubernetes_version: str, etcd_version: str) -> str:
    """Write the module file that builds Kubernetes from outside its repository.

    Inside it, `k8s.io/api` and the other staging modules are replaced by folders; outside, those replacements do not
    count and the required version v0.0.0 does not exist, so each is replaced by its published version: v0.37.2 for
    Kubernetes v1.37.2.
    """
    go_version = re.search(r"^go (\S+)$", upstream_go_mod, re.MULTILINE)
    staging = re.findall(r"^\s*(?:replace\s+)?(\S+) => \./staging/", upstream_go_mod, re.MULTILINE)
    if not go_version or not staging:
        raise BuildFailedError("Kubernetes' go.mod names no Go version or no staging modules: its layout has changed")
    lines = ["module testbed", "", f"go {go_version[1]}", ""]
    lines += ["require (", f"\tgo.etcd.io/etcd/server/v3 v{etcd_version}"]
    lines += [f"\tk8s.io/kubernetes v{kubernetes_version}", ")", "", "replace ("]
    lines += [f"\t{module} => {module} v0{kubernetes_version[1:]}" for module in staging]
    return "\n".join([*lines, ")", ""])


def render_tools_go(packages: Sequence[str]) -> str:
    """Write the file that keeps `go mod tidy` from dropping what is only built, never imported."""
    imports = "\n".join(f'\t_ "{package}"' for package in sorted(packages))
    return f"//go:build tools\n\npackage tools\n\nimport (\n{imports}\n)\n"


def _copy_jars(folder: Path, progress: Progress, group: str, artifact: str, version: str) -> None:
    """Copy a published artifact and all that it depends on, as jars, into `lib`."""
    pom = _template("jars-pom.xml").replace("GROUP", group).replace("ARTIFACT", artifact).replace("VERSION", version)
    (folder / "pom.xml").write_text(pom)
    command = [*MAVEN, "dependency:copy-dependencies", "-DoutputDirectory=lib"]
    progress.run("downloading with Maven", command, cwd=folder, log=folder / "build.log")


def _build_module(
    folder: Path, progress: Progress, module: str, binaries: dict[str, str], *, go_version: str = "1.22"
) -> None:
    """Build commands of one published module that asks for no replacements."""
    (folder / "go.mod").write_text(f"module testbed\n\ngo {go_version}\n\nrequire {module}\n")
    _build_go(folder, progress, log=folder / "build.log", linker_flags="-s -w", binaries=binaries)


def _build_go(folder: Path, progress: Progress, *, log: Path, linker_flags: str, binaries: dict[str, str]) -> None:
    (folder / "tools.go").write_text(render_tools_go(list(binaries.values())))
    env = {**os.environ, "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}
    progress.run("resolving modules", ["go", "mod", "tidy"], cwd=folder, log=log, env=env)
    for name, package in binaries.items():
        # -v names each package as it is compiled, which is the progress to show; nice, because it takes all cores.
        command = ["nice", "-n", "10", "go", "build", "-v", "-trimpath", "-ldflags", linker_flags]
        command += ["-o", f"bin/{name}", package]
        progress.run(f"compiling {name}", command, cwd=folder, log=log, env=env)


def _download_go_mod(module: str, folder: Path) -> str:
    """Fetch a module and return its go.mod."""
    result = subprocess.run(
        ["go", "mod", "download", "-json", module], cwd=folder, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise BuildFailedError(f"go mod download {module} failed:\n{result.stdout}{result.stderr}")
    path: str = json.loads(result.stdout)["GoMod"]
    return Path(path).read_text()
