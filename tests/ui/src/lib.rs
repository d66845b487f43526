//! Programs that do not compile, in `cases/`, each with what the compiler says of it: that names the cure.
