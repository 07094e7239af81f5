"""Public part of the exercises: references, public cases, points and known mistakes, one package per stage."""
