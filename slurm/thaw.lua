-- thaw.lua: Lmod's module file of Thaw.
--
-- `cmake --install` puts it to PREFIX/share/thaw/modulefiles/thaw/VERSION.lua; it finds PREFIX by its own place:
--
--   module use PREFIX/share/thaw/modulefiles
--   module load thaw
--
-- To keep it among the site's own module files instead, copy it there and write the prefix into the next line. Where Open MPI and the
-- libraries Thaw was built with come as modules too, add them: depends_on("openmpi", "openblas", "netlib-scalapack")
local prefix = myFileName():match("^(.*)/share/thaw/modulefiles/")

whatis("Name: thaw")
whatis("Version: " .. myModuleVersion())
whatis("Description: trains recommendation models from interaction logs on MPI, and serves them from tables")
help([[
thaw JOB        MPI program; 'thaw --help' lists the jobs, 'man thaw' says the rest
thaw-lookup     reads the tables, without MPI
thaw-submit     submits the steps of a job file to Slurm; batch scripts are in $THAW_HOME/share/thaw/slurm
]])

if not prefix then
    LmodError("thaw: this module file was copied: write where Thaw is installed into its line 'local prefix'")
end
setenv("THAW_HOME", prefix)
prepend_path("PATH", pathJoin(prefix, "bin"))
prepend_path("MANPATH", pathJoin(prefix, "share/man"))
append_path("MANPATH", "") -- the system's own pages, too
for _, lib in ipairs({"lib", "lib64"}) do
    if isDir(pathJoin(prefix, lib, "pkgconfig")) then -- libthaw-lookup
        prepend_path("LD_LIBRARY_PATH", pathJoin(prefix, lib))
        prepend_path("PKG_CONFIG_PATH", pathJoin(prefix, lib, "pkgconfig"))
    end
end
prepend_path("CMAKE_PREFIX_PATH", prefix)
