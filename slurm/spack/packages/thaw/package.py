# Spack package of Thaw, built from a source tree at hand:
#
#   spack repo add slurm/spack
#   spack dev-build thaw@0.1.0          # in the source tree
#
# or, with a release archive, `spack install thaw@0.1.0` once a version() below has its url and sha256.
from spack.package import *


class Thaw(CMakePackage):
    """Trains recommendation models from interaction logs on MPI clusters, and writes embedding tables
    that a small tool and library look things up in."""

    license("Apache-2.0")

    version("0.1.0")

    variant("mpi", default=True, description="The MPI programs; without them only thaw-lookup and its library")

    depends_on("c", type="build")
    depends_on("cmake@3.18:", type="build")
    depends_on("ninja", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("protobuf-c")
    depends_on("xxhash")
    depends_on("zlib-api")
    depends_on("zstd")
    depends_on("openblas threads=openmp")
    depends_on("random123", type="build")
    depends_on("cmocka", type="test")

    with when("+mpi"):
        # Launched by srun, Open MPI and Slurm must agree on PMIx: "openmpi schedulers=slurm", "slurm+pmix".
        depends_on("openmpi@4.1:")
        depends_on("netlib-scalapack")
        depends_on("inih")

    generator("ninja")

    def cmake_args(self):
        return [
            self.define_from_variant("THAW_MPI", "mpi"),
            self.define("THAW_TESTS", self.run_tests),
        ]

    def setup_run_environment(self, env):
        env.set("THAW_HOME", self.prefix)
